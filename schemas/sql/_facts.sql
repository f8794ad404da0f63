-- Each trait that a call sets, one row each: by its own name what the call carries, by its name in snake case what
-- Engage set. Identify, group and track calls.
SELECT
  call.* EXCEPT (name, traits, sent_as, key, value),
  IF(name IS NULL, key, name) AS trait,
  IF(name IS NULL, value, traits[name]) AS value
FROM (
  SELECT call.*, IF(STARTS_WITH(escaped, '"'), JSON_VALUE(SAFE.PARSE_JSON(escaped)), escaped) AS name
  FROM (
    -- include _property.sql
  ) AS call
  CROSS JOIN UNNEST(
    ARRAY_CONCAT(
      IF(call.type = 'track', [], JSON_KEYS(call.traits, 1)),
      IF(call.key IS NULL, [], [CAST(NULL AS STRING)])
    )
  ) AS escaped
) AS call
WHERE name IS NULL OR sent_as IS NULL OR name != sent_as
