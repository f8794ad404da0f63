-- The connections, and how each maps accounts: by_group where by group calls, else by the id in an identify call's
-- traits at the path id, whose keys are key_1 to key_4; NULL where by neither. The newest job has entered it. In a
-- warehouse without such a job the accounts tell it: it is by group calls where every one of them has named its
-- account, one of them was named so last, and no account that this connection alone named has another explicit source.
SELECT
  used.connection,
  IF(
    used.mapping IS NULL,
    used.by_group,
    CASE JSON_VALUE(used.mapping, '$.method') WHEN 'group' THEN TRUE WHEN 'identify_traits' THEN FALSE END
  ) AS by_group,
  IF(used.mapping IS NULL, 'company.id', JSON_VALUE(used.mapping, '$.id')) AS id,
  IF(used.mapping IS NULL, 'company', JSON_VALUE(used.mapping, '$.key_1')) AS key_1,
  IF(used.mapping IS NULL, 'id', JSON_VALUE(used.mapping, '$.key_2')) AS key_2,
  JSON_VALUE(used.mapping, '$.key_3') AS key_3,
  JSON_VALUE(used.mapping, '$.key_4') AS key_4,
  JSON_VALUE(used.mapping, '$.key_5') AS key_5
FROM (
  SELECT
    used.connection,
    used.by_group,
    COALESCE(job.account_mappings['connections'][used.connection], job.account_mappings['others']) AS mapping
  FROM (
    SELECT connection, LOGICAL_AND(is_possible) AND LOGICAL_OR(is_shown) AS by_group
    FROM (
      SELECT call.connection, account.account_id IS NOT NULL AS is_possible, FALSE AS is_shown
      FROM identity_calls AS call
      LEFT JOIN accounts AS account
        ON account.account_id = call.group_id AND call.connection IN UNNEST(account.connections)
      WHERE call.type = 'group'
      UNION ALL
      SELECT
        connection,
        ARRAY_LENGTH(account.connections) > 1 OR account.account_source != 'identify_traits' AS is_possible,
        account.account_source = 'group' AS is_shown
      FROM accounts AS account
      CROSS JOIN UNNEST(account.connections) AS connection
    )
    GROUP BY connection
  ) AS used
  LEFT JOIN (
    SELECT account_mappings
    FROM jobs
    WHERE account_mappings IS NOT NULL
    QUALIFY ROW_NUMBER() OVER (ORDER BY generation DESC) = 1
  ) AS job ON TRUE
) AS used
