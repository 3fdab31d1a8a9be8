import { defineWarning } from '../../src/kit/index.ts'

/** A format is not known, so that every text has it. */
export const unknownFormat = defineWarning('SP_WARN_VALIDATE_FORMAT', 'low', 'A format that nothing checks')

/** A pattern runs in an engine that may take long for some texts. */
export const nativePattern = defineWarning(
  'SP_WARN_VALIDATE_PATTERN',
  'medium',
  'A pattern that may backtrack'
)

/** A schema of responses has a fault. */
export const uncheckedResponse = defineWarning(
  'SP_WARN_VALIDATE_RESPONSE',
  'low',
  'Responses that are not validated, since their schema has a fault'
)

/** A document wants security that the route does not have. */
export const unsecured = defineWarning(
  'SP_WARN_VALIDATE_UNSECURED',
  'high',
  'A public route for operations that want security'
)
/** Paths of a document are below a path that no request has. */
export const unreachable = defineWarning(
  'SP_WARN_VALIDATE_UNREACHABLE',
  'medium',
  'Paths of a document that no request can reach'
)
