-- of the GoogleSQL whose SHA-256 is 59b5ffa47ac655d4c39115c7ab197d9057d17620913c40458d0d98ddf9b69a96
SELECT
  contact.external_id,
  audience.audience_key,
  audience.is_member,
  audience.updated_at,
  contact.email,
  contact.name AS contact_name,
  contact.account_id,
  contact.account_name
FROM contacts_resolved AS contact
CROSS JOIN UNNEST(contact.audiences) AS _t0(audience)
