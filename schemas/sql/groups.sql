-- The group calls, each once, with the traits that each carried, in the columns of Segment's own warehouse. Those that
-- accounts has as well are read by its rules. Other traits are in traits.
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  group_id,
  -- include _times.sql
  -- include _context.sql
  JSON_TEXT(traits, '$.address.city') AS address_city,
  JSON_TEXT(traits, '$.address.country') AS address_country,
  JSON_TEXT(traits, '$.address.postalCode') AS address_postal_code,
  JSON_TEXT(traits, '$.address.state') AS address_state,
  JSON_TEXT(traits, '$.address.street') AS address_street,
  JSON_TEXT(traits, '$.avatar') AS avatar,
  JSON_TEXT(traits, '$.description') AS description,
  JSON_TEXT(traits, '$.domain') AS domain,
  JSON_TEXT(traits, '$.email') AS email,
  SAFE_CAST(JSON_VALUE(promoted, '$.employees') AS INT64) AS employees,
  JSON_VALUE(promoted, '$.industry') AS industry,
  JSON_VALUE(promoted, '$.name') AS name,
  JSON_TEXT(traits, '$.phone') AS phone,
  JSON_VALUE(promoted, '$.plan') AS plan,
  JSON_VALUE(promoted, '$.website') AS website,
  connection,
  traits,
  context,
  external_id, -- the label of the contact that the call belongs to now
  account_id -- the company, as in identity_calls_resolved
FROM identity_calls_resolved
WHERE type = 'group'
