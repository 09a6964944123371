-- Books one finished member of a chord in Celery's layout and takes the chord when it is complete, in one step, so
-- that two members that end together cannot both find it complete. A member counts once, whatever its result says.
--
-- KEYS  .j (sorted set of parts), .t (members added), .s (size), the saved group, .done (ours: a taken chord's parts)
-- ARGV  score, the member's id as JSON text, part, seconds to live
-- Returns nothing, or {saved group or "", part, ...} to the one that completes it. The member that completed it is
-- told so again whenever it asks: its worker may have died, or lost its connection, before the body was sent.
local mine = 'by ' .. ARGV[2]
local function taken()
  local out = redis.call('ZRANGE', KEYS[5], 1, -1)
  table.insert(out, 1, redis.call('GET', KEYS[4]) or '')
  return out
end
if redis.call('ZSCORE', KEYS[5], mine) then return taken() end
local known = false
local head = '[1, ' .. ARGV[2] .. ','
for _, part in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
  if string.sub(part, 1, #head) == head then known = true end
end
if not known then redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3]) end
local size = tonumber(redis.call('GET', KEYS[3]) or '')
local added = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
if not size or redis.call('ZCARD', KEYS[1]) < size + added then
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
  return false
end
-- Celery deletes the keys after it has sent the body. They go now, so that no Python worker finds the chord complete
-- as well; the parts stay under another name for the case above.
redis.call('RENAME', KEYS[1], KEYS[5])
redis.call('ZADD', KEYS[5], '-inf', mine)  -- before every part
redis.call('EXPIRE', KEYS[5], ARGV[4])
redis.call('DEL', KEYS[2], KEYS[3])
return taken()
