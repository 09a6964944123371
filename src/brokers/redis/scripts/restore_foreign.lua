-- Gives back what find_foreign.lua found, if nobody touched it since, and lets go of kombu's lock.
--
-- KEYS  unacked, unacked_index, unacked_mutex
-- ARGV  who asks; for each message: tag, score, number of lists, then each list and its envelope
-- Returns how many were moved.
local moved, at = 0, 2
while at <= #ARGV do
  local tag, score, lists = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if redis.call('ZSCORE', KEYS[2], tag) == score and redis.call('HEXISTS', KEYS[1], tag) == 1 then
    local pushed = 0
    for i = 0, lists - 1 do
      if type(redis.pcall('RPUSH', ARGV[at + 3 + 2 * i], ARGV[at + 4 + 2 * i])) ~= 'table' then pushed = pushed + 1 end
    end
    if pushed > 0 then
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
      moved = moved + 1
    end
  end
  at = at + 3 + 2 * lists
end
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
return moved
