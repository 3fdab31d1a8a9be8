import { METHODS } from 'node:http'
import { forEachSliced } from '../../lib/time-slicing.ts'
import { isSplitByMethod } from './aliases.ts'
import { isRouted, METHOD_SYMBOLS, preflightedMethod } from './methods.ts'
import { entriesFor, entryFor, hasOneRoute, isConditional, type PatternNode } from './nodes.ts'

/** Classes of methods and preflights that every path treats alike. In the router, one method stands for a class. */
export interface MethodClasses {
  /** The class of each symbol, in the order of `METHOD_SYMBOLS`. */
  readonly classOf: readonly number[]
  /** The name of each class. */
  readonly nameOf: readonly string[]
}

/** Splits methods and preflights into classes; `plugins` are the methods of each route that a plugin registers itself. */
export async function classifyMethods(
  nodes: ReadonlyMap<string, PatternNode>,
  plugins: readonly (readonly string[])[]
): Promise<MethodClasses> {
  let classOf = METHOD_SYMBOLS.map(() => 0)
  await forEachSliced(nodes, ([shape, node]) => {
    if (hasOneRoute(node) || isSplitByMethod(shape, node)) return
    classOf = refineClasses(
      classOf,
      METHOD_SYMBOLS.map((symbol) => routesText(node, symbol))
    )
  })
  for (const methods of plugins)
    classOf = refineClasses(
      classOf,
      METHOD_SYMBOLS.map((symbol) => (methods.includes(symbol) ? 1 : 0))
    )
  // TRACE and CONNECT are never routed, so they have a class of their own.
  classOf = refineClasses(
    classOf,
    METHOD_SYMBOLS.map((symbol) => (isRouted(symbol) ? 0 : 1))
  )
  const free = METHODS.toReversed().filter(isRouted)
  const nameOf: string[] = []
  for (const name of ['GET', ...METHOD_SYMBOLS]) {
    const own = classOf[METHOD_SYMBOLS.indexOf(name)] ?? 0
    if (preflightedMethod(name) === undefined) nameOf[own] ??= name
  }
  for (const own of new Set(classOf))
    nameOf[own] ??= free.find((method) => !nameOf.includes(method)) ?? 'OPTIONS'
  return { classOf, nameOf }
}

/** Returns what is equal for methods that come to the same routes of a node. */
function routesText(node: PatternNode, symbol: string): number | string {
  if (node.entries.some(isConditional))
    return entriesFor(node, symbol)
      .map((entry) => node.entries.indexOf(entry))
      .join()
  const entry = entryFor(node, symbol)
  return entry === undefined ? -1 : node.entries.indexOf(entry)
}

/** Splits each class by the values of `by` for its members. */
function refineClasses(classOf: readonly number[], by: readonly (number | string)[]): number[] {
  const known = new Map<string, number>()
  return classOf.map((own, i) => {
    const signature = `${own} ${by[i]}`
    const made = known.get(signature) ?? known.size
    known.set(signature, made)
    return made
  })
}

/** Returns the name of the class of each method, and of each preflight by the method it asks for. */
export function methodMaps({ classOf, nameOf }: MethodClasses): {
  methods: Map<string, string>
  preflights: Map<string, string>
} {
  const methods = new Map<string, string>()
  const preflights = new Map<string, string>()
  for (const [i, symbol] of METHOD_SYMBOLS.entries()) {
    const name = nameOf[classOf[i] ?? 0] ?? symbol
    const preflighted = preflightedMethod(symbol)
    if (preflighted !== undefined) preflights.set(preflighted, name)
    else if (isRouted(symbol)) methods.set(symbol, name)
  }
  return { methods, preflights }
}
