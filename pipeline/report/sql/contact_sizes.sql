-- People who are more than one id, by how many ids they are.
SELECT ids, COUNT(*) AS people
FROM (
  SELECT external_id, COUNT(*) + 1 AS ids
  FROM identities
  GROUP BY external_id
)
GROUP BY ids
ORDER BY ids
