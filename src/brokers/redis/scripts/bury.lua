-- Ends leases of one owner: all of them when its heartbeat has run out, or those of an answer it never got.
--
-- KEYS  leases, lease index, owners
-- ARGV  owner, cursor, token: leases with a greater one end; "" for an owner that is dead, which is forgotten at the end
-- Returns the next cursor; "0" when all were seen, or when the owner has come back to life.
if ARGV[3] == '' then
  local time = redis.call('TIME')
  local until_us = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if not until_us or tonumber(until_us) >= time[1] * 1000000 + time[2] then return '0' end
end
redis.call('ZREM', KEYS[2], '')  -- lets a server without memory change scores; see extend.lua
local found = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
for i = 1, #found[2], 2 do
  local token, owner = string.match(found[2][i + 1], '^(%d+)|([^|]*)|')
  if owner == ARGV[1] and (ARGV[3] == '' or tonumber(token) > tonumber(ARGV[3])) then
    redis.call('ZADD', KEYS[2], 'XX', 0, found[2][i])
  end
end
if found[1] == '0' and ARGV[3] == '' then redis.call('ZREM', KEYS[3], ARGV[1]) end
return found[1]
