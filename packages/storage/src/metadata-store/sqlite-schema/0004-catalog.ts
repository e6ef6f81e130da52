/** The catalog is read from its index alone: a row for each name would be a page of the database for each name. */
export const CATALOG_SCHEMA = `
DROP INDEX repositories_with_manifests;
CREATE INDEX repositories_with_manifests ON repositories (name, upstream, manifests) WHERE manifests > 0
`;
