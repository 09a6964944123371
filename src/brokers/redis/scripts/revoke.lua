-- Remembers revoked tasks, in the order of their revocation. Times never repeat, so that a consumer that has seen all up to
-- one of them asks for the later ones.
--
-- KEYS  revoked
-- ARGV  how long to remember in ms, most ids; then ids
-- Every worker that hears of a revocation writes it down; what another has just written is left as it is.
local kJustNow = 60 * 1000000
local keep, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - keep * 1000))
local newest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0')
for i = 3, #ARGV do
  local before = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '0')
  if before <= now - kJustNow then
    newest = math.max(now, newest + 1)
    redis.call('ZADD', KEYS[1], string.format('%.0f', newest), ARGV[i])
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -most - 1)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(keep, redis.call('PTTL', KEYS[1]))))
return redis.call('ZCARD', KEYS[1])
