-- What the server would refuse to this user of all that a worker does, found before the first message instead of by
-- it. Only Redis 7 and later, and Valkey, can say; of an older server nothing is known.
--
-- KEYS  keys of a worker
-- ARGV  for each key: the commands it is used with, separated by spaces
-- Returns {"command key", ...}: what is refused.
if not redis.acl_check_cmd then return {} end
local samples = {
  HDEL = {'f'}, HEXISTS = {'f'}, HMGET = {'f'}, HSCAN = {'0'}, HSET = {'f', 'v'}, LPUSH = {'v'}, RPOP = {}, RPUSH = {'v'},
  SET = {'v'}, GET = {}, ZADD = {'0', 'm'}, ZRANGEBYSCORE = {'0', '0'}, ZREM = {'m'}, ZSCORE = {'m'},
}
local refused = {}
for i, key in ipairs(KEYS) do
  for command in string.gmatch(ARGV[i], '%u+') do
    local known, allowed = pcall(redis.acl_check_cmd, command, key, unpack(samples[command]))
    if known and not allowed then refused[#refused + 1] = string.lower(command) .. ' ' .. key end
  end
end
return refused
