-- Renews leases, and tells kombu's peers that the messages are alive: their visibility timeout counts from the score.
--
-- KEYS  unacked_index, leases, lease index, owners, epoch, unacked, held
-- ARGV  owner, lease in us, heartbeat in us, a fresh epoch; then tag, token, ...
-- Returns {epoch, then the tokens of the receipts that are no longer ours}. The epoch is kept from the first caller on;
-- another one than before means that the server has lost its data.
local owner, lease, heartbeat = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local fresh = ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', math.ceil(now / 1000000))  -- see fetch.lua
-- A server without memory refuses these updates as the first write of a script, although they need none. After a
-- removal it allows them, and leases must not end because memory is short.
redis.call('ZREM', KEYS[3], '')
redis.call('ZADD', KEYS[4], now + heartbeat, owner)
local epoch = redis.call('GET', KEYS[5])
if not epoch then
  redis.call('SET', KEYS[5], fresh)
  epoch = fresh
end
local tags = {}
for i = 5, #ARGV, 2 do tags[#tags + 1] = ARGV[i] end
local out = {epoch}
if #tags == 0 then return out end
local expiry, stamps = {}, {}
local ends = redis.call('ZMSCORE', KEYS[3], unpack(tags))
for i, record in ipairs(redis.call('HMGET', KEYS[2], unpack(tags))) do
  local token = ARGV[4 + 2 * i]
  local ours = token .. '|' .. owner .. '|'
  local held = record and string.sub(record, 1, #ours) == ours
  if held and not (ends[i] and tonumber(ends[i]) >= now) then
    -- A Python worker may have taken it since; see settle.lua.
    local stored = redis.call('HGET', KEYS[6], tags[i])
    if stored then held = string.find(stored, '},"","', 1, true) ~= nil
    else held = redis.call('HEXISTS', KEYS[7], tags[i]) == 1 end
  end
  if held then
    expiry[#expiry + 1] = now + lease
    expiry[#expiry + 1] = tags[i]
    stamps[#stamps + 1] = stamp
    stamps[#stamps + 1] = tags[i]
  else
    out[#out + 1] = token
  end
end
if #expiry > 0 then
  redis.call('ZADD', KEYS[3], 'XX', unpack(expiry))
  redis.call('ZADD', KEYS[1], 'XX', unpack(stamps))
end
return out
