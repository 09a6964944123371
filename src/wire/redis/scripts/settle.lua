-- What came of a batch, as one atomic step in the order that makes any end of the server harmless: follow-ups, then
-- results, then settlements. An error (no memory, a key of another type) ends the script before anything is
-- acknowledged; a server without memory refuses the first write already.
--
-- KEYS  unacked, unacked_index, leases, lease index, held; none are needed when nothing is settled
-- ARGV  owner
--       number of follow-ups, each: one write
--       number of results, each: key, seconds to live or "0", fence, JSON, token
--       number of acknowledgements, each: tag, token
--       number of moves, each: tag, token, number of writes, the writes
--       A write is four words: "L" | "R" | "Z" | "H", key, score of Z or field of H, value.
-- Returns the number of receipts that were not ours any more; nothing is done for those, and the results that carry
-- their tokens are not stored: a late writer changes nothing.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function take_number() return tonumber(take()) end
local function take_write() return {take(), take(), take(), take()} end

local function write(one)
  if one[1] == 'L' then redis.call('LPUSH', one[2], one[4])
  elseif one[1] == 'R' then redis.call('RPUSH', one[2], one[4])
  elseif one[1] == 'Z' then redis.call('ZADD', one[2], one[3], one[4])
  else redis.call('HSET', one[2], one[3], one[4]) end
end

-- Status of a stored record. Celery and Errand write it first; other writers may not.
local function status_of(record)
  local status = string.match(record, '^{"status": "([^"\\]*)"')
  if status then return status end
  local read, decoded = pcall(cjson.decode, record)
  return read and type(decoded) == 'table' and decoded.status or nil
end

-- The fence is the token in 32 blanks after the JSON, where readers of JSON do not look: \t \n \r and space are the
-- digits 0 to 3, so that the text's order is the number's.
local function fenced(record, fence)
  local old = string.sub(record, -32)
  return #old == 32 and string.find(old, '^[\t\n\r ]+$') ~= nil and old > fence
end

local function store(key, seconds, fence, json)
  local old = redis.call('GET', key)
  if old and (status_of(old) == 'SUCCESS' or (fence ~= '' and fenced(old, fence))) then return end
  local record = json .. fence
  if seconds == '0' then redis.call('SET', key, record) else redis.call('SETEX', key, seconds, record) end
  redis.call('PUBLISH', key, record)
end

local owner = take()
local follow_ups, results, acks, moves = {}, {}, {}, {}
for i = 1, take_number() do follow_ups[i] = take_write() end
for i = 1, take_number() do results[i] = {take(), take(), take(), take(), take()} end
local tags, tokens = {}, {}
for i = 1, take_number() do tags[i], tokens[i] = take(), take() end
local ack_count = #tags
for i = 1, take_number() do
  tags[#tags + 1], tokens[#tokens + 1] = take(), take()
  local writes = {}
  for w = 1, take_number() do writes[w] = take_write() end
  moves[i] = writes
end

local stale, late, mine, moving = 0, {}, {}, {}
if #tags > 0 then
  local records = redis.call('HMGET', KEYS[3], unpack(tags))
  for i, tag in ipairs(tags) do
    local record = records[i]
    local ours = tokens[i] .. '|' .. owner .. '|'
    local held = record and string.sub(record, 1, #ours) == ours
    if held and i > ack_count then
      -- A Python worker with a shorter visibility timeout may have put it back: then it must not come twice.
      held = redis.call('HEXISTS', KEYS[1], tag) == 1 or redis.call('HEXISTS', KEYS[5], tag) == 1
    end
    if held then
      mine[#mine + 1] = tag
      if i > ack_count then moving[#moving + 1] = moves[i - ack_count] end
    else
      stale = stale + 1
      late[tokens[i]] = true
    end
  end
end

for _, one in ipairs(follow_ups) do write(one) end
for _, one in ipairs(results) do
  if not late[one[5]] then store(one[1], one[2], one[3], one[4]) end
end
for _, writes in ipairs(moving) do
  for _, one in ipairs(writes) do write(one) end
end
if #mine > 0 then
  local gone = redis.call('HDEL', KEYS[1], unpack(mine))
  if gone < #mine then gone = gone + redis.call('HDEL', KEYS[5], unpack(mine)) end
  redis.call('ZREM', KEYS[2], unpack(mine))
  redis.call('HDEL', KEYS[3], unpack(mine))
  redis.call('ZREM', KEYS[4], unpack(mine))
  stale = stale + #mine - gone
end
return stale
