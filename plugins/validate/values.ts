import type { FastifyInstance } from 'fastify'
import { pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import {
  declaredProperties,
  type TextReader,
  textReader
} from '../../src/lib/body/json-schema/text-values.ts'
import { define } from '../../src/lib/schema.ts'
import { leaseCompiler } from './compilers.ts'
import { oneError, type Part, type RequestErrors } from './errors.ts'
import { bundleOf } from './options.ts'

/** Judges the texts of one part of a request by the schema of an object. */
export interface PartJudge {
  /** The names that the schema has. */
  readonly names: ReadonlySet<string>
  judge(values: Iterable<readonly [name: string, texts: readonly string[]]>, errors: RequestErrors): void
}

/** Makes the judge of a part. */
export function partJudge(app: FastifyInstance, part: Part, schema: object): PartJudge {
  const bundle = bundleOf(schema)
  const compiler = leaseCompiler(app, bundle)
  const readers = new Map<string, TextReader>()
  for (const [name, each] of declaredProperties(bundle.documents.get(bundle.uri), bundle))
    readers.set(name, textReader(each, bundle))
  return {
    names: new Set(readers.keys()),
    judge(values, errors) {
      const read: Record<string, unknown> = {}
      for (const [name, texts] of values) {
        const reader = readers.get(name)
        // A list of a header is one field or several (RFC 9110 section 5.6.1).
        const each = part === 'headers' && reader?.isList === true ? texts.flatMap(listItems) : texts
        const value = readTexts(reader, each)
        if (value === REPEATED)
          errors.add(part, oneError('repeated', 'must be sent once', `#/${pointerPart(name)}`))
        else define(read, name, value)
      }
      errors.add(part, compiler.at()(read))
    }
  }
}

const REPEATED = Symbol('repeated')

/** Reads the texts of a parameter; without a schema, one is a text and several are a list. */
function readTexts(reader: TextReader | undefined, texts: readonly string[]): unknown {
  if (reader === undefined) return texts.length === 1 ? texts[0] : texts
  if (reader.isList) return texts.map((text) => reader.item(text))
  // Some servers take the first and others the last.
  return texts.length === 1 ? reader.scalar(texts[0] ?? '') : REPEATED
}

const listItems = (field: string): string[] => field.split(',').map((item) => item.trim())
