-- A list of an owner has two keys: the members by their order, and the same members by expiry. Members of 32 bytes are hashes of
-- access tokens that are stored beside the list.

-- Adds a member as the newest one.
local function add_member(order, expiries, member, expires_at)
  local newest = redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')
  -- The score is a counter and not the time, because there may be many members in one second.
  redis.call('ZADD', order, (tonumber(newest[2]) or 0) + 1, member)
  redis.call('ZADD', expiries, expires_at, member)
  keep(order, tonumber(expires_at))
  keep(expiries, tonumber(expires_at))
end

local function remove_member(tokens, order, expiries, member)
  redis.call('ZREM', order, member)
  redis.call('ZREM', expiries, member)
  if #member == 32 then redis.call('HDEL', tokens, member) end
end

-- Removes some members that have expired: a few in each call, so that no call takes long.
local function prune_members(tokens, order, expiries)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now - MARGIN, 'LIMIT', 0, 8)) do
    remove_member(tokens, order, expiries, old)
  end
end

-- Removes the oldest active members beyond the limit, if they are tokens beside the list. Adds the other ones to the reply: the
-- caller ends them, and only then removes them, so that an interrupted caller leaves nothing beyond the limit unnoticed.
local function evict(tokens, order, expiries, limit, reply)
  local beyond = redis.call('ZCARD', order) - redis.call('ZCOUNT', expiries, '-inf', now) - limit
  local skipped = 0
  while beyond > 0 do
    local member = redis.call('ZRANGE', order, skipped, skipped)[1]
    if not member then return end
    local has_expired = (tonumber(redis.call('ZSCORE', expiries, member)) or 0) <= now
    if has_expired or #member == 32 then
      remove_member(tokens, order, expiries, member)
    else
      reply[#reply + 1] = member
      skipped = skipped + 1
    end
    if not has_expired then beyond = beyond - 1 end
  end
end
