-- The people who are the most ids.
SELECT person.external_id, person.ids, contact.name, contact.email
FROM (
  SELECT external_id, COUNT(*) + 1 AS ids
  FROM identities
  GROUP BY external_id
  ORDER BY ids DESC, external_id
  LIMIT 10
) AS person
LEFT JOIN contacts AS contact ON contact.external_id = person.external_id
ORDER BY person.ids DESC, person.external_id
