import { createError, type StageFactory, type StageHead } from '../../src/kit/index.ts'
import { compileFormat, type Format } from '../../src/lib/body/format.ts'
import { FormatError } from '../../src/lib/body/format-errors.ts'
import type { FormatName } from '../../src/lib/body/format-options.ts'
import { mediaKindOf, mediaTypeOf } from '../../src/lib/body/media-kind.ts'
import { makeValueStage } from '../../src/lib/body/value-stage.ts'
import { size } from '../../src/lib/units.ts'
import type { FormatConcernOptions } from './options.ts'

/** The response is not in the format that the route says. */
export const FormatInvalid = createError<[string]>(
  'SP_ERR_FORMAT_RESPONSE',
  'Bad gateway: the response of the upstream cannot be read: %s',
  502
)

/** Compiles the stage that reads responses in one format and writes them in another; `isChanged` says that a later concern changes their values. */
export function convertResponses(
  options: FormatConcernOptions,
  { isChanged }: { readonly isChanged: boolean }
): StageFactory {
  const format = compileFormat(options)
  const maxBody = size(options.maxBody)
  const refuse = (reason: string): Error => new FormatInvalid(reason)
  return function convertResponse(head, request) {
    if (!isInFormat(head, format.from)) return undefined
    const type = format.choose(request.headers.accept)
    const isSame = type === format.from
    if (isSame && !isChanged) return undefined
    const contentType = head.get('content-type')
    const stage = makeValueStage(head, request, {
      maxBody,
      read: (bytes) => readAs(format, bytes, contentType, maxBody),
      write: (value) => format.write(value, type),
      refuse
    })
    // The type may say more than the format, such as "application/hal+json".
    if (!isSame || type === 'xml') head.set('content-type', format.contentTypes[type])
    return stage
  }
}

function readAs(format: Format, bytes: Buffer, contentType: string | undefined, maxBody: number): unknown {
  try {
    return format.read(bytes, contentType, maxBody)
  } catch (error) {
    throw error instanceof FormatError ? new FormatInvalid(error.message) : error
  }
}

const MEDIA_TYPES: Readonly<Record<Exclude<FormatName, 'json'>, RegExp>> = {
  // XHTML and SVG are documents of their own.
  xml: /^(?:(?:application|text)\/xml|(?!application\/xhtml\+|image\/)[^/]+\/.+\+xml)$/,
  csv: /^(?:text|application)\/csv$/,
  ndjson: /^application\/(?:x-)?(?:ndjson|jsonl|jsonlines)$/,
  form: /^application\/x-www-form-urlencoded$/
}

// What services send that do not know the type of their files.
const UNTOLD: ReadonlySet<string | undefined> = new Set([undefined, 'text/plain', 'application/octet-stream'])

/** Tells whether a response is in a format, by its media type; a success without a telling one is. */
function isInFormat(head: StageHead, from: FormatName): boolean {
  const contentType = head.get('content-type')
  if (from === 'json') return mediaKindOf(contentType) === 'json'
  const type = mediaTypeOf(contentType)
  return MEDIA_TYPES[from].test(type ?? '') || (head.status < 300 && UNTOLD.has(type))
}
