-- What came of a batch, as one atomic step in the order that makes any end of the server harmless: follow-ups, then
-- results, then settlements. An error (no memory, a key of another type) ends the script before anything is
-- acknowledged; a server without memory refuses the first write already.
--
-- KEYS  unacked, unacked_index, leases, lease index, held, epoch; none are needed when nothing is settled or guarded
-- ARGV  owner, seconds to live of results or "0", epoch of the deliveries
--       number of guards, each: tag, token: receipts that are only looked at
--       number of acknowledgements, each: tag, token
--       number of moves, each: tag, token, number of writes, the writes
--       number of follow-ups, each: one write, token of the receipt it belongs to or "0"
--       number of results, each: key, record, token of the receipt it belongs to or "0"
--       A write is four words: "L" | "R" | "Z" | "H", key, score of Z or field of H, value.
-- Returns the tokens of the receipts to settle that were not ours any more. Nothing is done for those, and what belongs
-- to them is neither sent nor stored: a late writer changes nothing.
local ARGV, sub, find = ARGV, string.sub, string.find
local owner, seconds, epoch = ARGV[1], ARGV[2], ARGV[3]
local at = 4

local function write(i)
  local kind = ARGV[i]
  if kind == 'L' then redis.call('LPUSH', ARGV[i + 1], ARGV[i + 3])
  elseif kind == 'R' then redis.call('RPUSH', ARGV[i + 1], ARGV[i + 3])
  elseif kind == 'Z' then redis.call('ZADD', ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  else redis.call('HSET', ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
end

-- Which receipts are ours.
local tags, tokens, moves = {}, {}, {}
local guards = tonumber(ARGV[at])
for i = 1, guards do
  tags[i], tokens[i] = ARGV[at + 2 * i - 1], ARGV[at + 2 * i]
end
at = at + 1 + 2 * guards
local acks = tonumber(ARGV[at])
for i = 1, acks do
  tags[guards + i], tokens[guards + i] = ARGV[at + 2 * i - 1], ARGV[at + 2 * i]
end
at = at + 1 + 2 * acks
local count = guards + acks + tonumber(ARGV[at])
at = at + 1
for i = guards + acks + 1, count do
  tags[i], tokens[i], moves[i] = ARGV[at], ARGV[at + 1], at + 2
  at = at + 3 + 4 * tonumber(ARGV[at + 2])
end
local stale, late, mine, moving = {}, {}, {}, {}
if count > 0 then
  local records = redis.call('HMGET', KEYS[3], unpack(tags))
  local ends = redis.call('ZMSCORE', KEYS[4], unpack(tags))
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local whose = '|' .. owner .. '|'
  for i = 1, count do
    local record, tag, token = records[i], tags[i], tokens[i]
    local held = record and sub(record, 1, #token) == token and sub(record, #token + 1, #token + #whose) == whose
    if held and not (ends[i] and tonumber(ends[i]) >= now) then
      -- The lease is over. Until somebody takes it the message is still ours; but a Python worker that has taken it
      -- knows nothing of our records. Only we write what stands behind the envelope without blanks.
      local stored = redis.call('HGET', KEYS[1], tag)
      if stored then held = find(stored, '},"","', 1, true) ~= nil
      else held = redis.call('HEXISTS', KEYS[5], tag) == 1 end
    end
    if not held then
      late[token] = true
      if i > guards then stale[#stale + 1] = token end
    elseif i > guards then
      mine[#mine + 1] = tag
      if moves[i] then moving[#moving + 1] = moves[i] end
    end
  end
  -- When the server has lost its data nobody else can have the messages: what came of them is kept.
  if next(late) and epoch ~= '' and redis.call('GET', KEYS[6]) ~= epoch then late = {} end
end

-- Follow-ups.
local follow_ups = tonumber(ARGV[at])
for i = 1, follow_ups do
  if not late[ARGV[at + 5 * i]] then write(at + 5 * i - 4) end
end
at = at + 1 + 5 * follow_ups

-- Results. Celery and Errand write the status first; other writers may not.
local function status_of(record)
  local status = string.match(record, '^{"status": "([^"\\]*)"')
  if status then return status end
  local read, decoded = pcall(cjson.decode, record)
  return read and type(decoded) == 'table' and decoded.status or nil
end
-- The fence is the token in 32 blanks after the JSON, where readers of JSON do not look: \t \n \r and space are the
-- digits 0 to 3, so that the text's order is the number's.
local function fence_of(record)
  local last = sub(record, -32)
  if #last == 32 and find(last, '^[\t\n\r ]+$') then return last end
  return nil
end
local function replaces(record, old)
  if status_of(old) == 'SUCCESS' then return false end
  local ours, theirs = fence_of(record), fence_of(old)
  return not ours or not theirs or theirs <= ours
end
-- Mostly there is no record yet, and writing it is also finding that out.
local function store(key, record, only_new)
  if seconds == '0' then
    return only_new and redis.call('SET', key, record, 'NX') or not only_new and redis.call('SET', key, record)
  end
  return only_new and redis.call('SET', key, record, 'EX', seconds, 'NX')
    or not only_new and redis.call('SETEX', key, seconds, record)
end
local results = tonumber(ARGV[at])
for i = at + 1, at + 3 * results, 3 do
  local key, record = ARGV[i], ARGV[i + 1]
  if not late[ARGV[i + 2]] then
    local stored = store(key, record, true)
    if not stored then
      local old = redis.call('MGET', key)[1]  -- no error where the key is something else
      if not old or replaces(record, old) then stored = store(key, record, false) end
    end
    if stored then redis.call('PUBLISH', key, record) end
  end
end

-- Settlements. Where nothing new is written, a server without memory may take messages back: it refuses a push as the
-- first write of a script, but not after a removal.
if follow_ups == 0 and results == 0 and #moving > 0 then redis.call('HDEL', KEYS[5], '') end
for _, start in ipairs(moving) do
  for i = 1, tonumber(ARGV[start]) do write(start + 4 * i - 3) end
end
if #mine > 0 then
  if redis.call('HDEL', KEYS[1], unpack(mine)) < #mine then redis.call('HDEL', KEYS[5], unpack(mine)) end
  redis.call('ZREM', KEYS[2], unpack(mine))
  redis.call('HDEL', KEYS[3], unpack(mine))
  redis.call('ZREM', KEYS[4], unpack(mine))
end
return stale
