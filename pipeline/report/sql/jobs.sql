-- The newest jobs.
SELECT
  generation,
  UNIX_MICROS(started_at) AS started_at,
  UNIX_MICROS(ended_at) AS ended_at,
  runner,
  options,
  history_done
FROM jobs
ORDER BY generation DESC
LIMIT 10
