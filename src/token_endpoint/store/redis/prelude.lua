-- Every script begins with this. ARGV[1] is the prefix of all keys, ARGV[2] the caller's time in seconds.
--
-- Keys: c codes, f active families, u their used refresh tokens, a access tokens, r refresh tokens,
-- n the access tokens of a client and subject with a limit, s assertions that were seen.
local prefix, now = ARGV[1], tonumber(ARGV[2])

-- Returns the time to live of a key in milliseconds. The scripts decide by `now` what has expired. Redis deletes it five
-- minutes later, so that nothing is deleted too early if the clocks of the instances differ.
local function keep_for(expires_at)
  local seconds = math.max(expires_at - now, 0) + 300
  return string.format('%.0f', math.min(seconds, 1e10) * 1000)
end

-- Returns the text and the content of a family, unless it was revoked or has expired.
local function active_family(id)
  local text = redis.call('GET', prefix .. 'f:' .. id)
  if not text then return nil end
  local family = cjson.decode(text)
  if now >= family.expires_at then return nil end
  return text, family
end

-- Revokes a family: every token that names it is invalid afterwards.
local function revoke_family(id)
  redis.call('DEL', prefix .. 'f:' .. id, prefix .. 'u:' .. id)
end

-- True if neither the access token nor its family has expired or was revoked.
local function is_active(record)
  return now < record.expires_at and (record.family == cjson.null or active_family(record.family) ~= nil)
end
