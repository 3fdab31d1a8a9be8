import { bundleSchema, type SchemaBundle } from '../../src/lib/body/json-schema/references.ts'
import { isSubset } from '../../src/lib/body/json-schema/subset.ts'
import { declaredProperties, readingOf, textReader } from '../../src/lib/body/json-schema/text-values.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import {
  keyParameters,
  type Operation,
  type Parameter,
  parametersOf
} from '../../src/lib/openapi/operations.ts'
import { readTemplate } from '../../src/lib/openapi/path-template.ts'
import { type Acceptance, compareBundles, fieldsReadAlike, rootOf } from './compare-bundles.ts'
import { type DeclaredQuery, declaredQuery, isDeclared } from './declared-query.ts'
import { plainSchema } from './operation-schema.ts'
import type { ValidateOptions } from './options.ts'

/** An operation as a route has it. */
export interface PlacedOperation {
  readonly document: OpenApiDocument
  readonly operation: Operation
  readonly options: Pick<ValidateOptions, 'unknown'>
  /** What tells its path from others that the same requests may match. */
  readonly key: string
}

/** Something of an operation that accepts more or less than before. */
export interface Difference {
  readonly part: string
  readonly accepts: Exclude<Acceptance, 'same'>
}

/** Compares what two operations want of the parameters of requests. */
export function parameterDifferences(before: PlacedOperation, after: PlacedOperation): Difference[] {
  const [old, next] = [describe(before), describe(after)]
  const found: Difference[] = []
  for (const [id, parameter] of old.parameters) {
    const part = `${parameter.in} ${parameter.name}`
    const other = next.parameters.get(id)
    const accepts = other === undefined ? dropped(parameter, next) : compare(parameter, other)
    if (accepts !== 'same') found.push({ part, accepts })
  }
  for (const [id, parameter] of next.parameters)
    if (!old.parameters.has(id) && isStricter(parameter, old))
      found.push({ part: `${parameter.in} ${parameter.name}`, accepts: 'less' })
  return [...found, ...declaredAnew(old, next)]
}

interface Described {
  readonly unknown: ValidateOptions['unknown']['query']
  readonly parameters: ReadonlyMap<string, DescribedParameter>
  readonly query: DeclaredQuery
}

interface DescribedParameter extends Parameter {
  readonly id: string
  readonly bundle: SchemaBundle
  readonly reader: ReturnType<typeof textReader>
  readonly properties: readonly string[]
}

function describe({ document, operation, options, key }: PlacedOperation): Described {
  const all = parametersOf(document, operation)
  const names = readTemplate(operation.path).flatMap((segment) => segment.names)
  const described = new Map<Parameter, DescribedParameter>()
  for (const parameter of all) {
    if (parameter.in === 'querystring') continue
    const bundle = bundleSchema(plainSchema(document, parameter.schema, 'request'))
    const place = names.indexOf(parameter.name)
    described.set(parameter, {
      ...parameter,
      // Names of the path's parameters are free, and those of other paths have another meaning.
      id: `${parameter.in} ${parameter.in === 'path' && place !== -1 ? `${key} ${place}` : parameter.name}`,
      bundle,
      reader: textReader(rootOf(bundle), bundle),
      properties: [...declaredProperties(rootOf(bundle), bundle).keys()]
    })
  }
  const query = declaredQuery(all, (parameter) => described.get(parameter))
  return {
    unknown: options.unknown.query,
    parameters: new Map([...described.values()].map((each) => [each.id, each])),
    query: { ...query, names: new Set([...query.names, ...keyParameters(document)]) }
  }
}

/** Tells what follows from a parameter that an operation no longer declares. */
function dropped(parameter: DescribedParameter, { unknown, query }: Described): Acceptance {
  if (parameter.in === 'path' && takesAnyText(parameter)) return 'same'
  const isRefused = parameter.in === 'query' && unknown === 'reject' && !isDeclared(query, parameter.name)
  return isRefused && !parameter.isRequired ? 'less' : 'more'
}

/** Returns whether a parameter that was not declared refuses requests that passed. */
function isStricter(parameter: DescribedParameter, { unknown, query }: Described): boolean {
  if (parameter.in === 'path' && takesAnyText(parameter)) return false
  // What was not named was refused, or taken out.
  return (
    parameter.isRequired ||
    parameter.in !== 'query' ||
    unknown === 'keep' ||
    isDeclared(query, parameter.name)
  )
}

/** Returns whether every text is valid, sent once. */
const takesAnyText = ({ bundle, reader, isJson, style }: DescribedParameter): boolean =>
  !isJson &&
  !reader.isList &&
  !reader.isObject &&
  ['simple', 'form'].includes(style) &&
  ['', 'string'].includes(readingOf(rootOf(bundle), bundle).trim()) &&
  isSubset(ANY_TEXT, bundle)

const ANY_TEXT = bundleSchema({ type: 'string' })

const isScalar = ({ reader, style }: DescribedParameter): boolean =>
  !reader.isList && !reader.isObject && ['simple', 'form'].includes(style)

function compare(old: DescribedParameter, next: DescribedParameter): Acceptance {
  const values = compareValues(old, next)
  const required = byFlag(next.isRequired, old.isRequired)
  const empty = byFlag(old.allowsEmpty, next.allowsEmpty)
  return [required, empty].reduce(both, values)
}

/** Tells what a flag that refuses requests means. */
const byFlag = (isStricter: boolean, wasStricter: boolean): Acceptance =>
  isStricter === wasStricter ? 'same' : isStricter ? 'less' : 'more'

// If a parameter accepts more values in one way and fewer in another, it counts as accepting more.
const both = (one: Acceptance, other: Acceptance): Acceptance =>
  (['more', 'maybe', 'less'] as const).find((each) => one === each || other === each) ?? 'same'

function compareValues(old: DescribedParameter, next: DescribedParameter): Acceptance {
  const isReadAlike =
    old.isJson === next.isJson &&
    (old.isJson ||
      (old.style === next.style && old.explode === next.explode) ||
      (isScalar(old) && isScalar(next)))
  const accepts = !isReadAlike
    ? 'maybe'
    : compareBundles(old.bundle, next.bundle, old.isJson ? undefined : readsTextsAlike)
  if (accepts !== 'maybe') return accepts
  // Every text was valid before, or is now.
  if (takesAnyText(old) && (isScalar(next) || next.isJson)) return 'less'
  return takesAnyText(next) && (isScalar(old) || old.isJson) ? 'more' : 'maybe'
}

const readsTextsAlike = (one: SchemaBundle, other: SchemaBundle): boolean =>
  readingOf(rootOf(one), one) === readingOf(rootOf(other), other) && fieldsReadAlike(one, other)

/** Tells of query parameters that were refused or taken out, and are declared now. */
function declaredAnew(old: Described, next: Described): Difference[] {
  if (old.unknown === 'keep' || old.query.isFree) return []
  const { isFree, names, prefixes } = next.query
  const others = [...names, ...prefixes].filter((name) => !isDeclared(old.query, name))
  return [...(isFree ? ['query'] : []), ...others.map((name) => `query ${name}`)].map((part) => ({
    part,
    accepts: 'more'
  }))
}
