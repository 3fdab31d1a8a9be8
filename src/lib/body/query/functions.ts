import { define } from '../../schema.ts'
import { parseJson, stringifyJson } from '../json.ts'
import { list, object, type QueryFunction } from './function.ts'
import { checkSize, double, isEqual, keyCount, QueryError, type Run, typeOf } from './run.ts'
import { textFunctions } from './text-functions.ts'

type Key = (value: unknown, run: Run) => unknown
const expression = (value: unknown): Key => value as Key

const math = (compute: (value: number) => number): QueryFunction => ({
  takes: [['number']],
  call: ([value]) => compute(double(value))
})

const ofObject = (change: (value: object) => readonly unknown[]): QueryFunction => ({
  takes: [['object']],
  call([value], run) {
    const made = change(object(value))
    run.spend(made.length)
    return made
  }
})

function compare(a: unknown, b: unknown, run: Run): number {
  if (typeof a === 'string' && typeof b === 'string') {
    run.spend(1 + Math.min(a.length, b.length) / 64)
    return a < b ? -1 : a > b ? 1 : 0
  }
  run.spend(1)
  return double(a) - double(b)
}

/** Makes the keys of a list's items, all of them numbers or all of them texts. */
function keysOf(
  items: readonly unknown[],
  key: Key,
  run: Run
): { readonly item: unknown; readonly key: unknown }[] {
  const keyed = items.map((item) => {
    run.spend(1)
    return { item, key: key(item, run) }
  })
  const types = new Set(keyed.map((each) => typeOf(each.key)))
  if (types.size > 1 || [...types].some((type) => type !== 'number' && type !== 'string'))
    throw new QueryError('a list is sorted by keys that are all numbers or all strings')
  return keyed
}

const extreme = (sign: 1 | -1): QueryFunction => ({
  takes: [['numbers', 'strings']],
  call: ([items], run) =>
    list(items).reduce<unknown>(
      (best, item) => (best === null || compare(item, best, run) * sign > 0 ? item : best),
      null
    )
})

const extremeBy = (sign: 1 | -1): QueryFunction => ({
  takes: [['array'], ['expression']],
  call([items, key], run) {
    const [first, ...rest] = keysOf(list(items), expression(key), run)
    if (first === undefined) return null
    return rest.reduce((best, each) => (compare(each.key, best.key, run) * sign > 0 ? each : best), first)
      .item
  }
})

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

const typed: Readonly<Record<string, QueryFunction>> = {
  abs: math(Math.abs),
  avg: {
    takes: [['numbers']],
    call: ([items]) => (list(items).length === 0 ? null : sum(list(items)) / list(items).length)
  },
  ceil: math(Math.ceil),
  contains: {
    takes: [['string', 'array'], ['any']],
    call([within, part], run) {
      if (typeof within !== 'string') return list(within).some((item) => isEqual(item, part, run))
      if (typeof part !== 'string') return null
      run.spendSearch(within, part)
      return within.includes(part)
    }
  },
  floor: math(Math.floor),
  from_items: {
    takes: [['arrays']],
    call([items]) {
      const made = {}
      for (const [name, value, ...more] of list(items).map(list)) {
        if (typeof name !== 'string' || value === undefined || more.length > 0)
          throw new QueryError('from_items() takes pairs of a string and a value')
        define(made, name, value)
      }
      return made
    }
  },
  group_by: {
    takes: [['array'], ['expression']],
    call([items, key], run) {
      const groups = new Map<string, unknown[]>()
      for (const each of keysOf(list(items), expression(key), run)) {
        if (typeof each.key !== 'string') throw new QueryError('group_by() takes keys that are strings')
        const group = groups.get(each.key)
        if (group === undefined) groups.set(each.key, [each.item])
        else group.push(each.item)
      }
      const made = {}
      for (const [name, group] of groups) define(made, name, group)
      return made
    }
  },
  items: ofObject(Object.entries),
  keys: ofObject(Object.keys),
  length: {
    takes: [['string', 'array', 'object']],
    call([value], run) {
      if (Array.isArray(value)) return value.length
      if (typeof value !== 'string') return keyCount(object(value), run)
      run.spendText(value.length)
      let length = 0
      for (const _char of value) length++
      return length
    }
  },
  map: {
    takes: [['expression'], ['array']],
    call: ([key, items], run) => list(items).map((item) => expression(key)(item, run) ?? null)
  },
  max: extreme(1),
  max_by: extremeBy(1),
  merge: {
    takes: [['object']],
    variadic: true,
    call(args, run) {
      const made = {}
      for (const [name, value] of args.flatMap((each) => Object.entries(object(each)))) {
        run.spend(4)
        define(made, name, value)
      }
      return made
    }
  },
  min: extreme(-1),
  min_by: extremeBy(-1),
  not_null: {
    takes: [['any']],
    variadic: true,
    call: (args) => args.find((each) => each !== null) ?? null
  },
  reverse: {
    takes: [['string', 'array']],
    call([value], run) {
      if (typeof value !== 'string') return list(value).toReversed()
      run.spend(value.length)
      return Array.from(value).toReversed().join('')
    }
  },
  sort: {
    takes: [['numbers', 'strings']],
    call: ([items], run) => list(items).toSorted((a, b) => compare(a, b, run))
  },
  sort_by: {
    takes: [['array'], ['expression']],
    call: ([items, key], run) =>
      keysOf(list(items), expression(key), run)
        .toSorted((a, b) => compare(a.key, b.key, run))
        .map(({ item }) => item)
  },
  sum: { takes: [['numbers']], call: ([items]) => sum(list(items)) },
  to_array: { takes: [['any']], call: ([value]) => (Array.isArray(value) ? value : [value]) },
  to_number: {
    takes: [['any']],
    call([value]) {
      if (typeOf(value) === 'number') return value
      return typeof value === 'string' && NUMBER.test(value) ? parseJson(value) : null
    }
  },
  to_string: {
    takes: [['any']],
    call([value], run) {
      if (typeof value === 'string') return value
      checkSize(value, run)
      const made = stringifyJson(value)
      run.spendText(made.length)
      return made
    }
  },
  type: { takes: [['any']], call: ([value]) => typeOf(value) },
  values: ofObject(Object.values),
  zip: {
    takes: [['array']],
    variadic: true,
    call(args, run) {
      const length = Math.min(...args.map((each) => list(each).length))
      run.spend(length * args.length)
      return Array.from({ length }, (_, at) => args.map((each) => list(each)[at]))
    }
  }
}

const sum = (items: readonly unknown[]): number =>
  items.reduce<number>((total, item) => total + double(item), 0)

/** The functions of JMESPath by name. */
export const functions: ReadonlyMap<string, QueryFunction> = new Map<string, QueryFunction>(
  Object.entries({ ...typed, ...textFunctions })
)
