-- The traits of a person that Segment's spec names and contacts has no column for.
JSON_TEXT(traits, '$.address.city') AS address_city,
JSON_TEXT(traits, '$.address.country') AS address_country,
COALESCE(JSON_TEXT(traits, '$.address.postalCode'), JSON_TEXT(traits, '$.address.postal_code'))
  AS address_postal_code,
JSON_TEXT(traits, '$.address.state') AS address_state,
JSON_TEXT(traits, '$.address.street') AS address_street,
SAFE_CAST(REGEXP_EXTRACT(JSON_VALUE(traits, '$.age'), r'^-?\d+$') AS INT64) AS age,
JSON_TEXT(traits, '$.avatar') AS avatar,
JSON_TEXT(traits, '$.birthday') AS birthday,
SAFE_CAST(REGEXP_EXTRACT(JSON_VALUE(traits, '$.company.employee_count'), r'^-?\d+$') AS INT64)
  AS company_employee_count,
JSON_TEXT(traits, '$.company.id') AS company_id,
JSON_TEXT(traits, '$.company.industry') AS company_industry,
JSON_TEXT(traits, '$.company.name') AS company_name,
JSON_TEXT(traits, '$.company.plan') AS company_plan,
JSON_TEXT(traits, '$.description') AS description,
JSON_TEXT(traits, '$.gender') AS gender,
