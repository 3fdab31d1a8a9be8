import { createError } from '@fastify/error'

/** Returns why a body is not in its "format", without any of its content. */
export class FormatError extends Error {
  /** Whether the body is malformed, or larger than it may be. */
  readonly kind: 'format' | 'size'

  constructor(reason: string, kind: 'format' | 'size' = 'format') {
    super(reason)
    this.name = 'FormatError'
    this.kind = kind
  }
}

/** The value of a response has no form in XML. */
export const FormatXml = createError<[string]>(
  'SP_ERR_FORMAT_XML',
  'Bad gateway: the response cannot be written as XML: %s',
  502
)
