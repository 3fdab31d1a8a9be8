import type { OptionChange } from '../../src/kit/concern.ts'
import type { RouteInfo } from '../../src/kit/index.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import type { Operation } from '../../src/lib/openapi/operations.ts'
import { readOpenApiSync } from '../../src/lib/openapi/read-document.ts'
import { bodyDifferences } from './compare-bodies.ts'
import { type Difference, type PlacedOperation, parameterDifferences } from './compare-parameters.ts'
import type { ValidateOptions } from './options.ts'
import { type PathPair, type PlacedDocument, pairsOf, placeAlike } from './placed-operations.ts'

const PATH = ['openapi']

/** The options of a route, and the route. */
export interface Validated {
  readonly options: ValidateOptions
  readonly route: RouteInfo | undefined
}

/** Compares the documents of a route by the operations that they define for its requests. */
export function documentChanges(before: Validated, after: Validated): OptionChange[] {
  if (before.options.openapi === undefined || after.options.openapi === undefined) {
    if (before.options.openapi === after.options.openapi) return []
    return after.options.openapi === undefined
      ? [{ class: 'widened-access', path: PATH, message: 'is no longer validated' }]
      : [{ class: 'narrowed-access', path: PATH, message: 'is validated' }]
  }
  const [old, next] = [placed(before, before.options.openapi), placed(after, after.options.openapi)]
  const placements = old === undefined || next === undefined ? undefined : placeAlike(old, next)
  if (old === undefined || next === undefined || placements === undefined)
    return [
      {
        class: 'widened-access',
        path: PATH,
        message: "has its operations at other paths, and may accept more; it can't be decided"
      }
    ]
  const found = pairsOf(...placements).flatMap((pair) => pairChanges(pair, old, next))
  return [...MESSAGES].flatMap(([kind, { class: own, message }]): OptionChange[] => {
    const texts = [...new Set(found.filter((each) => each.kind === kind).map(({ text }) => text))]
    return texts.length === 0 ? [] : [{ class: own, path: PATH, message: message(listed(texts)) }]
  })
}

type Kind = Difference['accepts'] | 'deprecation'

const MESSAGES = new Map<Kind, Pick<OptionChange, 'class'> & { readonly message: (list: string) => string }>([
  ['more', { class: 'widened-access', message: (list) => `accepts more: ${list}` }],
  [
    'maybe',
    { class: 'widened-access', message: (list) => `may accept more, which can't be decided: ${list}` }
  ],
  ['less', { class: 'narrowed-access', message: (list) => `accepts less: ${list}` }],
  [
    'deprecation',
    { class: 'exposure', message: (list) => `tells clients otherwise whether these are deprecated: ${list}` }
  ]
])

// More operations than these are counted.
const MAX_LISTED = 8

const listed = (texts: readonly string[]): string =>
  texts.length > MAX_LISTED
    ? `${texts.slice(0, MAX_LISTED).join(', ')} and ${texts.length - MAX_LISTED} more`
    : texts.join(', ')

const documents = new WeakMap<ValidateOptions, OpenApiDocument | null>()

function placed({ options, route }: Validated, file: string): PlacedDocument | undefined {
  const document = getOrCreate(documents, options, () => {
    try {
      return readOpenApiSync(file)
    } catch {
      return null
    }
  })
  return document === null ? undefined : { document, options, route }
}

interface OperationChange {
  readonly kind: Kind
  readonly text: string
}

/** Compares the operations of two paths that the same requests match. */
function pairChanges(
  [one, other]: PathPair,
  before: PlacedDocument,
  after: PlacedDocument
): OperationChange[] {
  const methods = new Set([...(one?.methods.keys() ?? []), ...(other?.methods.keys() ?? [])])
  return [...methods]
    .filter((method) => [before, after].every(({ route }) => takes(route, method)))
    .flatMap((method) => {
      const operations = [one, other].map(
        (each) => each?.methods.get(method) ?? (method === 'HEAD' ? each?.methods.get('GET') : undefined)
      )
      const name = `${method} ${(other ?? one)?.path ?? ''}`
      const [old, next] = operations
      if (old === undefined || next === undefined)
        return declaredChanges(name, old, next, [before.options.undeclared, after.options.undeclared])
      return operationChanges(
        name,
        { ...before, operation: old, key: one?.key ?? '' },
        { ...after, operation: next, key: other?.key ?? '' }
      )
    })
}

const takes = (route: RouteInfo | undefined, method: string): boolean =>
  route?.methods?.includes(method) ?? true

/** Tells what follows from an operation that only one of two documents has. */
function declaredChanges(
  name: string,
  old: Operation | undefined,
  next: Operation | undefined,
  [undeclared, nextUndeclared]: readonly [string, string]
): OperationChange[] {
  if (old === next) return []
  if (next === undefined)
    return nextUndeclared === 'reject'
      ? [{ kind: 'less', text: `${name}, which it no longer has` }]
      : [{ kind: 'more', text: `${name}, which is not validated` }]
  return undeclared === 'reject'
    ? [{ kind: 'more', text: `${name}, which it did not have` }]
    : [{ kind: 'less', text: `${name}, which was not validated` }]
}

function operationChanges(name: string, before: PlacedOperation, after: PlacedOperation): OperationChange[] {
  const found = [...parameterDifferences(before, after), ...bodyDifferences(before, after)]
  const isToldOtherwise = before.operation.isDeprecated !== after.operation.isDeprecated
  return [
    ...(['more', 'maybe', 'less'] as const).flatMap((kind): OperationChange[] => {
      const parts = found.filter(({ accepts }) => accepts === kind).map(({ part }) => part)
      return parts.length === 0 ? [] : [{ kind, text: `${name} (${[...new Set(parts)].join(', ')})` }]
    }),
    ...(isToldOtherwise ? [{ kind: 'deprecation' as const, text: name }] : [])
  ]
}
