-- Takes dead letters out: back to the end of their lists with their original bytes, or away.
--
-- KEYS  dead letters, their index
-- ARGV  "requeue" | "drop", then ids
-- Returns how many were found. A record is: JSON, line end, list key, line end, the original bytes.
local found = 0
for i = 2, #ARGV do
  local record = redis.call('HGET', KEYS[1], ARGV[i])
  if record then
    if ARGV[1] == 'requeue' then
      local a = string.find(record, '\n', 1, true)
      local b = string.find(record, '\n', a + 1, true)
      redis.call('LPUSH', string.sub(record, a + 1, b - 1), string.sub(record, b + 1))
    end
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    found = found + 1
  end
end
return found
