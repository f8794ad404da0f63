-- Engage audiences and journey steps: contacts that are in each now, and contacts that were taken out of it.
SELECT
  audience.audience_key,
  COUNTIF(audience.is_member) AS members,
  COUNTIF(NOT audience.is_member) AS former,
  UNIX_MICROS(MAX(audience.updated_at)) AS changed_at
FROM contacts, UNNEST(contacts.audiences) AS audience
GROUP BY audience.audience_key
ORDER BY members DESC, audience.audience_key
LIMIT 50
