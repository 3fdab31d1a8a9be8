import { QueryError, type Run, type TypeName, typeOf } from './run.ts'

type Taken = TypeName | 'any' | 'numbers' | 'strings' | 'arrays'

/** One function of JMESPath. */
export interface QueryFunction {
  /** The types of each argument. */
  readonly takes: readonly (readonly Taken[])[]
  /** How many of the last ones may be left out. */
  readonly optional?: number
  /** Whether the last one may come more than once. */
  readonly variadic?: boolean
  call(args: readonly unknown[], run: Run): unknown
}

const LISTS: Partial<Record<Taken, TypeName>> = { numbers: 'number', strings: 'string', arrays: 'array' }

const isA = (value: unknown, taken: Taken): boolean => {
  const items = LISTS[taken]
  if (items !== undefined) return Array.isArray(value) && value.every((item) => typeOf(item) === items)
  return taken === 'any' ? typeOf(value) !== 'expression' : typeOf(value) === taken
}

/** Checks the types of a function's arguments, and counts the work that they are; throws a QueryError. */
export function checkArguments(
  name: string,
  { takes }: QueryFunction,
  { args, run }: { readonly args: readonly unknown[]; readonly run: Run }
): void {
  for (const [at, arg] of args.entries()) {
    const types = takes[Math.min(at, takes.length - 1)] ?? []
    run.spend(Array.isArray(arg) ? 1 + arg.length : typeof arg === 'string' ? 1 + arg.length / 64 : 1)
    if (!types.some((type) => isA(arg, type)))
      throw new QueryError(`${name}() takes ${types.join(' or ')}, not ${typeOf(arg)}`)
  }
}

// The arguments of a function are checked before it is called.

/** Accepts a string. */
export const text = (value: unknown): string => value as string

/** Accepts a list. */
export const list = (value: unknown): readonly unknown[] => value as readonly unknown[]

/** Accepts a list of strings. */
export const texts = (value: unknown): readonly string[] => value as readonly string[]

/** Accepts an object. */
export const object = (value: unknown): Readonly<Record<string, unknown>> => value as Record<string, unknown>
