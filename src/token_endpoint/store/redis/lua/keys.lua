-- The keys of an issuer are one hash. A value is p for a published key or w for a withdrawn one, since when, the expiry, and the
-- JWK.

-- Returns the parts of the value of a key that has not expired.
local function read_key(value)
  local kind, since, expires_at, start = string.match(value or '', '^([pw])(%d+):(%d+):()')
  if not kind or now >= tonumber(expires_at) then return nil end
  return kind, since, tonumber(expires_at), string.sub(value, start)
end

local function write_key(hash, key_id, kind, since, expires_at, jwk)
  redis.call('HSET', hash, key_id, kind .. since .. ':' .. string.format('%.0f', expires_at) .. ':' .. jwk)
  keep(hash, expires_at)
  local all = redis.call('HGETALL', hash)
  for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^[pw]%d+:(%d+):')) <= now - MARGIN then redis.call('HDEL', hash, all[i]) end
  end
end
