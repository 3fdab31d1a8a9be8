import type { ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { getOrCreate } from '../../memoize.ts'
import { isObject } from '../../schema.ts'
import { FORMATS } from './formats.ts'
import { replaceSlowKeywords } from './keywords.ts'
import { compilePattern } from './pattern.ts'
import type { SchemaBundle } from './references.ts'
import { bounded, describeErrors, type Invalid, type SchemaValidator } from './schema-errors.ts'
import { countReferences, inSteps } from './steps.ts'
import { needsTypeBox, typeBoxValidator } from './typebox.ts'

/** Compiles schemas of one bundle, each at its first use. */
export class SchemaCompiler {
  readonly #bundle: SchemaBundle
  readonly #validators = new Map<string, SchemaValidator>()
  #quick: Ajv2020 | undefined
  #thorough: Ajv2020 | undefined

  constructor(bundle: SchemaBundle) {
    this.#bundle = bundle
  }

  /** Finds the validator of the schema at a JSON Pointer of the bundle's document; throws where there is no valid schema. */
  at(pointer = ''): SchemaValidator {
    return getOrCreate(this.#validators, pointer, () =>
      needsTypeBox(this.#bundle, pointer)
        ? typeBoxValidator(this.#bundle, pointer)
        : this.#ajvValidator(pointer)
    )
  }

  #ajvValidator(pointer: string): SchemaValidator {
    const uri = `${this.#bundle.uri}#${encodeURI(pointer)}`
    this.#quick ??= newAjv(this.#bundle, { allErrors: false })
    const first = run(schemaIn(this.#quick, uri))
    let thorough: ValidateFunction | undefined
    const all = (value: unknown): Invalid | undefined => {
      // Most values are valid, so the fast function runs first; the other one lists the errors.
      if (first(value) === undefined) return undefined
      this.#thorough ??= newAjv(this.#bundle, { allErrors: true })
      thorough ??= schemaIn(this.#thorough, uri)
      return run(thorough)(value)
    }
    return Object.assign(all, { first })
  }
}

function schemaIn(ajv: Ajv2020, uri: string): ValidateFunction {
  const validate = ajv.getSchema(uri)
  if (validate === undefined) throw new TypeError(`no schema at ${uri}`)
  return validate
}

const run =
  (validate: ValidateFunction) =>
  (value: unknown): Invalid | undefined =>
    bounded(() => (inSteps(value, validate) === true ? undefined : describeErrors(validate.errors ?? [])))

function newAjv(
  { documents, needsMetaschema }: SchemaBundle,
  { allErrors }: { readonly allErrors: boolean }
): Ajv2020 {
  const ajv = new Ajv2020({
    allErrors,
    strict: false,
    // 1e999 is no number that a service could read alike.
    strictNumbers: true,
    // Takes 2 ms where it is not needed.
    meta: needsMetaschema,
    // Inherited properties, such as "constructor", are no data.
    ownProperties: true,
    validateSchema: false,
    logger: false,
    formats: FORMATS,
    code: { regExp: Object.assign((pattern: string) => compilePattern(pattern), { code: 'compilePattern' }) }
  })
  replaceSlowKeywords(ajv)
  countReferences(ajv)
  for (const [uri, document] of documents)
    if (typeof document === 'boolean' || isObject(document)) ajv.addSchema(document, uri)
  return ajv
}
