import { type Description, describeRefusal, type JsonSchema } from '../../src/kit/index.ts'
import { selfContained } from '../../src/lib/body/json-schema/self-contained.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { serverPaths } from '../../src/lib/openapi/operations.ts'
import { readOpenApiSync } from '../../src/lib/openapi/read-document.ts'
import { wholeDocument } from '../../src/lib/openapi/whole-document.ts'
import { BodyTooLarge } from '../../src/lib/refusals.ts'
import { CodingUnsupported, MediaUndeclared, RequestInvalid } from './errors.ts'
import { bundleOf, type SCHEMAS, type ValidateOptions } from './options.ts'

// The members of the problem document of a request that does not match.
const MEMBERS = {
  errors: {
    type: 'array',
    description: 'What is wrong, and where.',
    items: {
      type: 'object',
      required: ['in', 'pointer', 'keyword', 'detail'],
      properties: {
        in: { type: 'string', enum: ['params', 'query', 'headers', 'cookies', 'body'] },
        pointer: { type: 'string', description: 'A JSON Pointer, as a fragment.' },
        keyword: { type: 'string', description: 'The keyword of JSON Schema.' },
        detail: { type: 'string' }
      }
    }
  },
  more: { type: 'integer', description: 'How many other errors there are.' }
}

/** Describes the parameters and the body by their schemas, and how a request that does not match is refused. */
export function describes(options: ValidateOptions): Description {
  const schemaOf = (name: (typeof SCHEMAS)[number]): { [name: string]: JsonSchema } => {
    const schema = options[name]
    return schema === undefined ? {} : { [name]: selfContained(bundleOf(schema)) }
  }
  const { body } = schemaOf('body')
  const judgesBodies = body !== undefined || options.openapi !== undefined
  return {
    ...schemaOf('params'),
    ...schemaOf('query'),
    ...schemaOf('headers'),
    ...(body === undefined ? {} : { body: { content: { 'application/json': body }, required: true } }),
    ...(options.openapi === undefined ? {} : { document: documentOf(options, options.openapi) }),
    refusals: [
      describeRefusal(RequestInvalid, { members: MEMBERS }),
      ...(!judgesBodies
        ? []
        : [BodyTooLarge, MediaUndeclared, CodingUnsupported].map((each) =>
            describeRefusal(each, { onlyFor: 'bodies' })
          ))
    ]
  }
}

// The routes of the operations of one document have the same options.
const documents = new WeakMap<ValidateOptions, NonNullable<Description['document']>>()

const documentOf = (options: ValidateOptions, file: string): NonNullable<Description['document']> =>
  getOrCreate(documents, options, () => readDocumented(file, options))

/** Returns the operations of a document, with the paths of its servers where they count. */
function readDocumented(
  file: string,
  { servers, undeclared, base }: ValidateOptions
): NonNullable<Description['document']> {
  const document = readOpenApiSync(file)
  const { paths, ...rest } = wholeDocument(document)
  const prefixes = servers ? serverPaths(document) : ['']
  return {
    ...rest,
    paths: Object.fromEntries(
      prefixes.flatMap((prefix) => Object.entries(paths).map(([path, item]) => [prefix + path, item]))
    ),
    ...(base === undefined ? {} : { base: [base].flat() }),
    isComplete: undeclared === 'reject'
  }
}
