-- E-mail addresses that several contacts have.
SELECT
  LOWER(TRIM(email)) AS address,
  COUNT(*) AS contacts,
  COUNT(*) OVER () AS total
FROM contacts
WHERE email IS NOT NULL
GROUP BY address
HAVING COUNT(*) > 1
ORDER BY contacts DESC, address
LIMIT 20
