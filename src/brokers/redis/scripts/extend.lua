-- Renews leases, and tells kombu's peers that the messages are alive: their visibility timeout counts from the score.
--
-- KEYS  unacked_index, leases, lease index, owners
-- ARGV  owner, lease in us or "0" to leave the leases as they are, heartbeat in us; then tag, token, ...
-- Returns the number of receipts that are no longer ours.
local owner, lease, heartbeat = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.6f', now / 1000000)
-- A server without memory refuses these updates as the first write of a script, although they need none. After a
-- removal it allows them, and leases must not end because memory is short.
redis.call('ZREM', KEYS[3], '')
redis.call('ZADD', KEYS[4], now + heartbeat, owner)
local tags = {}
for i = 4, #ARGV, 2 do tags[#tags + 1] = ARGV[i] end
if #tags == 0 then return 0 end
local stale, expiry, stamps = 0, {}, {}
for i, record in ipairs(redis.call('HMGET', KEYS[2], unpack(tags))) do
  local ours = ARGV[3 + 2 * i] .. '|' .. owner .. '|'
  if record and string.sub(record, 1, #ours) == ours then
    expiry[#expiry + 1] = now + lease
    expiry[#expiry + 1] = tags[i]
    stamps[#stamps + 1] = stamp
    stamps[#stamps + 1] = tags[i]
  else
    stale = stale + 1
  end
end
if #expiry > 0 then
  if lease > 0 then redis.call('ZADD', KEYS[3], 'XX', unpack(expiry)) end
  redis.call('ZADD', KEYS[1], 'XX', unpack(stamps))
end
return stale
