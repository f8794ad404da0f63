-- of the GoogleSQL whose SHA-256 is 72fa6da9ac1c99ec3299a64c40a35dd6bf5ddc29cb3a4a7759ea76a0cc0a0dc5
SELECT
  account_id,
  CAST(timestamp AT TIME ZONE 'UTC' AS DATE) AS day,
  COUNT(DISTINCT external_id) AS people,
  COUNT(*) AS events,
  COUNT(CASE WHEN type = 'Page' THEN 1 ELSE NULL END) AS pages,
  COUNT(CASE WHEN type = 'Screen' THEN 1 ELSE NULL END) AS screens,
  COUNT(CASE WHEN type = 'Action' THEN 1 ELSE NULL END) AS actions
FROM events_resolved
WHERE
  NOT account_id IS NULL
GROUP BY
  account_id,
  CAST(timestamp AT TIME ZONE 'UTC' AS DATE)
