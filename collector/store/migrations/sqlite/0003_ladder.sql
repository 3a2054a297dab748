-- Which targets the ladder made, and may withdraw: an operator's are the operator's, whatever their name.
ALTER TABLE target ADD COLUMN ladder INTEGER NOT NULL DEFAULT 0;
UPDATE target SET ladder = 1
WHERE (role = 'host' AND kind = 'host')
   OR (role = 'gateway' AND name = 'passerelle ' || address)
   OR (role = 'hop' AND name LIKE 'opérateur, saut %(' || address || ')')
   OR (role = 'resolver' AND name = 'résolveur ' || address)
   OR (role = 'collector' AND name = 'collecteur')
   OR (role = 'reference'
       AND name IN ('référence ' || address, 'résolveur de référence ' || address));
