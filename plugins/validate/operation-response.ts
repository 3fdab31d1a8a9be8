import type { StageHead } from '../../src/kit/index.ts'
import { decodeBody } from '../../src/lib/body/content-coding.ts'
import type { Invalid } from '../../src/lib/body/json-schema/schema-errors.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import { type DeclaredResponse, type Operation, responsesOf } from '../../src/lib/openapi/operations.ts'
import { isJsonType, judgeJson } from './body.ts'
import { oneError } from './errors.ts'
import { mediaTypeIn } from './operation-body.ts'
import { type CompiledSchema, compileSchema } from './operation-schema.ts'

/** How much of a body is validated. */
export const MAX_RESPONSE = 1024 * 1024

/** What a response has to be, by its head. */
export interface JudgedHead {
  readonly found: Invalid | undefined
  /** Judges the body; undefined where nothing is declared of it. */
  readonly judgeBody: ((bytes: Buffer) => Promise<Invalid | undefined>) | undefined
}

/** Judges the responses of an operation, whose schemas are compiled at their first use. */
export class ResponseJudge {
  readonly #document: OpenApiDocument
  readonly #declared: ReadonlyMap<string, DeclaredResponse>
  readonly #schemas = new Map<object, CompiledSchema>()

  constructor(document: OpenApiDocument, operation: Operation) {
    this.#document = document
    this.#declared = responsesOf(document, operation)
  }

  judge(head: Pick<StageHead, 'status' | 'get'>): JudgedHead {
    const status = String(head.status)
    const declared =
      this.#declared.get(status) ?? this.#declared.get(`${status[0]}XX`) ?? this.#declared.get('DEFAULT')
    if (declared === undefined) return refused(oneError('status', 'must have a status that is declared'))
    const missing = declared.requiredHeaders.filter((name) => head.get(name) === undefined)
    const [name] = missing
    if (name !== undefined) return refused(oneError('header', `must have the header ${name}`))
    const type = (head.get('content-type')?.split(';', 1)[0] ?? '').trim().toLowerCase()
    if (declared.content.size === 0 || type === '') return { found: undefined, judgeBody: undefined }
    const media = declared.content.get(mediaTypeIn(declared.content, type) ?? '')
    if (media === undefined) return refused(oneError('mediaType', 'must have a media type that is declared'))
    if (!isJsonType(type) || media.node['schema'] === undefined)
      return { found: undefined, judgeBody: undefined }
    const coding = head.get('content-encoding')
    return {
      found: undefined,
      judgeBody: async (bytes) => {
        const decoded = await decodeBody(bytes, coding, MAX_RESPONSE)
        return Buffer.isBuffer(decoded) ? judgeJson(decoded, this.#schemaOf(media).validate) : undefined
      }
    }
  }

  #schemaOf({
    node,
    uri
  }: {
    readonly node: Readonly<Record<string, unknown>>
    readonly uri: string
  }): CompiledSchema {
    const known = this.#schemas.get(node)
    if (known !== undefined) return known
    const made = compileSchema(this.#document, { value: node['schema'], uri }, 'response')
    this.#schemas.set(node, made)
    return made
  }
}

const refused = (found: Invalid): JudgedHead => ({ found, judgeBody: undefined })
