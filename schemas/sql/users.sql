-- Every user_id that was identified and not deleted since, in the columns of Segment's own warehouse: the times and
-- context of its last identify call, and its contact's traits as of now. Other traits are in traits.
SELECT
  user_id AS id,
  -- include _times.sql
  -- include _context.sql
  -- include _traits.sql
  email,
  name,
  first_name,
  last_name,
  phone,
  title,
  username,
  website,
  created_at,
  connection,
  traits,
  context,
  external_id, -- the label of the contact that it belongs to now
  account_id -- the contact's company
FROM (
  SELECT
    call.* EXCEPT (traits, account_id),
    contact.traits,
    contact.email,
    contact.name,
    contact.first_name,
    contact.last_name,
    contact.phone,
    contact.title,
    contact.username,
    contact.website,
    contact.created_at,
    contact.account_id
  FROM identity_calls_resolved AS call
  JOIN contacts_resolved AS contact ON contact.external_id = call.external_id
  LEFT JOIN (
    SELECT external_id, timestamp, message_id
    FROM identity_calls_resolved
    WHERE type = 'delete'
    QUALIFY ROW_NUMBER() OVER (PARTITION BY external_id ORDER BY timestamp DESC, message_id DESC) = 1
  ) AS forgotten ON forgotten.external_id = call.external_id
  WHERE
    call.type = 'identify'
    AND call.user_id IS NOT NULL
    AND (
      forgotten.external_id IS NULL
      OR forgotten.timestamp < call.timestamp
      OR forgotten.timestamp = call.timestamp AND forgotten.message_id < call.message_id
    )
  QUALIFY ROW_NUMBER() OVER (PARTITION BY call.user_id ORDER BY call.timestamp DESC, call.message_id DESC) = 1
)
