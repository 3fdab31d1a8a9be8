/** The fields of OpenAPI 3.0, 3.1 and 3.2 and of its schemas whose keys are chosen by the author of a document. */
export const KEYED_FIELDS: ReadonlySet<string> = new Set([
  '$defs',
  'additionalOperations',
  'callbacks',
  'content',
  'definitions',
  'dependentRequired',
  'dependentSchemas',
  'encoding',
  'examples',
  'headers',
  'links',
  'mapping',
  'mediaTypes',
  'parameters',
  'pathItems',
  'paths',
  'patternProperties',
  'properties',
  'requestBodies',
  'responses',
  'schemas',
  'scopes',
  'securitySchemes',
  'variables',
  'webhooks'
])

/** The fields that hold values of the documented API, in which nothing is a reference. */
export const DATA_FIELDS: ReadonlySet<string> = new Set([
  'const',
  'dataValue',
  'default',
  'enum',
  'example',
  'value'
])
