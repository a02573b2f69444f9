-- A session has three keys: its row, its access tokens by hash, and the same hashes by expiry.

-- Stores an access token of the session. A value is s for a token of a session or n for another one, the expiry, and the record.
local function add_access(tokens, expiries, hash, expires_at, record)
  redis.call('HSET', tokens, hash, 's' .. expires_at .. ':' .. record)
  redis.call('ZADD', expiries, expires_at, hash)
  -- A few in each call, so that no call takes long.
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now - MARGIN, 'LIMIT', 0, 8)) do
    redis.call('HDEL', tokens, old)
    redis.call('ZREM', expiries, old)
  end
  keep(tokens, tonumber(expires_at))
  keep(expiries, tonumber(expires_at))
end

-- Ends the session. Returns the outcome, and what to remove from the lists of other keys: client, subject, owner, and the
-- hashes of the access tokens. The owner is empty if its lists do not have the session.
local function end_session(outcome, row, tokens, expiries)
  local of = redis.call('HMGET', row, 'client', 'subject', 'owner')
  local reply = {clock, outcome, of[1] or '', of[2] or '', of[3] or ''}
  if of[3] then
    for _, hash in ipairs(redis.call('ZRANGE', expiries, 0, -1)) do reply[#reply + 1] = hash end
  end
  redis.call('DEL', row, tokens, expiries)
  return reply
end
