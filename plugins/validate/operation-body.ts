import type { FastifyRequest } from 'fastify'
import { readBody } from '../../src/kit/index.ts'
import type { Invalid } from '../../src/lib/body/json-schema/schema-errors.ts'
import { pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import type { RequestBody } from '../../src/lib/openapi/operations.ts'
import { decoded, isFormType, isJsonType, isUtf8Charset, judgeJson } from './body.ts'
import { MediaUndeclared, oneError } from './errors.ts'
import type { CompiledSchema } from './operation-schema.ts'

/** Judges the body of a request by what an operation declares; other media types than JSON and forms stream by. */
export async function judgeBody(
  request: FastifyRequest,
  { isRequired, content }: RequestBody,
  maxBody: string,
  schemaOf: (type: string) => CompiledSchema
): Promise<Invalid | undefined> {
  const contentType = request.headers['content-type']
  const type = (contentType?.split(';', 1)[0] ?? '').trim().toLowerCase()
  const declared = mediaTypeIn(content, type)
  if (contentType !== undefined && declared === undefined)
    throw new MediaUndeclared([...content.keys()].join(', '))
  const isJson = isJsonType(type)
  // What is not judged streams by.
  if (declared !== undefined && !isJson && !isFormType(type)) return undefined
  const body = await readBody(request, { maxBody })
  if (body.length === 0) return isRequired ? oneError('required', 'must not be empty') : undefined
  if (declared === undefined) throw new MediaUndeclared([...content.keys()].join(', '))
  if (!isUtf8Charset(contentType)) throw new MediaUndeclared(`${declared} in UTF-8`)
  const bytes = await decoded(request, body, maxBody)
  if (bytes === undefined) return oneError('contentEncoding', 'must be encoded as its Content-Encoding says')
  const schema = schemaOf(declared)
  return isJson ? judgeJson(bytes, schema.validate) : judgeForm(bytes, schema)
}

/** Finds the media type or the range that says most of a type. */
export function mediaTypeIn(content: RequestBody['content'], type: string): string | undefined {
  const range = `${type.split('/', 1)[0]}/*`
  return [type, range, '*/*'].find((each) => content.has(each))
}

/** Judges a form: each field is read as the type of its property, and a list is several fields. */
function judgeForm(bytes: Buffer, { reader, validate }: CompiledSchema): Invalid | undefined {
  const fields = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(bytes.toString()))
    fields.set(name, [...(fields.get(name) ?? []), value])
  const read: Record<string, unknown> = {}
  for (const [name, texts] of fields) {
    if (name === '__proto__') return oneError('proto', 'must not have the field __proto__')
    const isList = reader.isListProperty(name)
    if (!isList && texts.length > 1)
      return oneError('repeated', 'must be sent once', `#/${pointerPart(name)}`)
    read[name] = isList
      ? texts.map((text) => reader.propertyItem(name, text))
      : reader.property(name, texts[0] ?? '')
  }
  return validate(read)
}
