-- Domains and names that several companies have.
SELECT what, shared, COUNT(*) AS accounts, COUNT(*) OVER () AS total
FROM (
  SELECT 'domain' AS what, LOWER(domain) AS shared
  FROM accounts_resolved
  WHERE domain IS NOT NULL
  UNION ALL
  SELECT 'name' AS what, LOWER(TRIM(name)) AS shared
  FROM accounts_resolved
)
GROUP BY what, shared
HAVING COUNT(*) > 1
ORDER BY accounts DESC, what, shared
LIMIT 20
