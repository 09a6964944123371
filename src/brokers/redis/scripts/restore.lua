-- Gives messages with ended leases back to the front of their lists. What sweep.lua told may have changed since: a
-- message is moved only if its lease is still the same and still over.
--
-- KEYS  unacked, unacked_index, leases, lease index, held
-- ARGV  for each message: tag, lease record, list, envelope
-- Returns how many were moved.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local moved = 0
redis.call('ZREM', KEYS[4], '')  -- lets a server without memory push what it frees below; see extend.lua
for i = 1, #ARGV, 4 do
  local tag, record = ARGV[i], ARGV[i + 1]
  local over = redis.call('ZSCORE', KEYS[4], tag)
  if over and tonumber(over) <= now and redis.call('HGET', KEYS[3], tag) == record then
    local stored = redis.call('HGET', KEYS[1], tag)
    local foreign = stored and not string.find(stored, '},"","', 1, true)  -- taken by a Python worker since
    local there = not foreign and (stored or redis.call('HEXISTS', KEYS[5], tag) == 1)
    -- A list that has become something else keeps its message here.
    local pushed = there and redis.pcall('RPUSH', ARGV[i + 2], ARGV[i + 3])
    if type(pushed) ~= 'table' then
      if there then moved = moved + 1 end
      if not foreign then
        redis.call('HDEL', KEYS[1], tag)
        redis.call('HDEL', KEYS[5], tag)
        redis.call('ZREM', KEYS[2], tag)
      end
      redis.call('HDEL', KEYS[3], tag)
      redis.call('ZREM', KEYS[4], tag)
    end
  end
end
return moved
