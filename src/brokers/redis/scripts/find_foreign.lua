-- Finds messages that Python workers took longer ago than the visibility timeout, and takes kombu's lock of the
-- restore job when there are any.
--
-- KEYS  unacked, unacked_index, leases, unacked_mutex
-- ARGV  age in us, most messages, who asks, life of the lock in ms
-- Returns {tag, score, stored value, ...}; not empty: the lock is ours.
local time = redis.call('TIME')
local before = (time[1] * 1000000 + time[2] - tonumber(ARGV[1])) / 1000000
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', before), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local out = {}
redis.call('ZREM', KEYS[2], '')  -- lets a server without memory take the lock; see extend.lua
for i = 1, #found, 2 do
  if redis.call('HEXISTS', KEYS[3], found[i]) == 0 then
    local stored = redis.call('HGET', KEYS[1], found[i])
    if stored then
      out[#out + 1] = found[i]
      out[#out + 1] = found[i + 1]
      out[#out + 1] = stored
    else
      redis.call('ZREM', KEYS[2], found[i])
    end
  end
end
if #out > 0 and not redis.call('SET', KEYS[4], ARGV[3], 'NX', 'PX', ARGV[4]) then return {} end
return out
