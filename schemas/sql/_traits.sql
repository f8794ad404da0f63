-- The traits of a person that Segment's spec names and contacts has no column for.
JSON_VALUE(traits, '$.address.city') AS address_city,
JSON_VALUE(traits, '$.address.country') AS address_country,
COALESCE(JSON_VALUE(traits, '$.address.postalCode'), JSON_VALUE(traits, '$.address.postal_code'))
  AS address_postal_code,
JSON_VALUE(traits, '$.address.state') AS address_state,
JSON_VALUE(traits, '$.address.street') AS address_street,
SAFE_CAST(REGEXP_EXTRACT(JSON_VALUE(traits, '$.age'), r'^-?\d+$') AS INT64) AS age,
JSON_VALUE(traits, '$.avatar') AS avatar,
JSON_VALUE(traits, '$.birthday') AS birthday,
SAFE_CAST(REGEXP_EXTRACT(JSON_VALUE(traits, '$.company.employee_count'), r'^-?\d+$') AS INT64)
  AS company_employee_count,
JSON_VALUE(traits, '$.company.id') AS company_id,
JSON_VALUE(traits, '$.company.industry') AS company_industry,
JSON_VALUE(traits, '$.company.name') AS company_name,
JSON_VALUE(traits, '$.company.plan') AS company_plan,
JSON_VALUE(traits, '$.description') AS description,
JSON_VALUE(traits, '$.gender') AS gender,
