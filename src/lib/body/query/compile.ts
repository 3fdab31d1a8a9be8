import { compile } from '@jmespath-community/jmespath'
import { deepFreeze, define, nearest } from '../../schema.ts'
import { isJsonObject } from '../json.ts'
import { checkArguments, type QueryFunction } from './function.ts'
import { functions } from './functions.ts'
import { checkSize, double, isEqual, isTrue, QueryError, Run, typeOf } from './run.ts'

type Node = ReturnType<typeof compile>
type Evaluate = (value: unknown, run: Run) => unknown

/** An expression is invalid; the message says what was expected. */
export class QuerySyntaxError extends Error {}

/**
 * Compiles a JMESPath expression; the library parses it, and it runs here: its own interpreter reads prototypes, and
 * takes as long as a body makes it. Throws a QuerySyntaxError, and a QueryError per value.
 */
export function compileQuery(expression: string): (value: unknown) => unknown {
  const evaluate = parse(expression)
  return (value) => {
    const made = evaluate(value, new Run(value)) ?? null
    checkSize(made, new Run(value))
    return made
  }
}

function parse(expression: string): Evaluate {
  try {
    return evaluator(compile(expression), new Set())
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'it can not be read'
    throw new QuerySyntaxError(`expected a JMESPath expression, got "${expression}": ${reason}`)
  }
}

const identity: Evaluate = (value) => value

function evaluator(node: Node, known: ReadonlySet<string>): Evaluate {
  const of = (inner: Node): Evaluate => evaluator(inner, known)
  switch (node.type) {
    case 'Current':
    case 'Identity':
      return identity
    case 'Root':
      return (_value, run) => run.root
    case 'Literal': {
      const literal = deepFreeze(node.value)
      return () => literal
    }
    case 'Field': {
      const { name } = node
      return (value) => (isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : null)
    }
    case 'Index': {
      const { value: index } = node
      return (value) => (Array.isArray(value) ? (value.at(index) ?? null) : null)
    }
    case 'Subexpression':
    case 'IndexExpression':
    case 'Pipe': {
      const [left, right] = [of(node.left), of(node.right)]
      const passesNull = node.type !== 'Subexpression'
      return (value, run) => {
        const found = left(value, run) ?? null
        return found === null && !passesNull ? null : right(found, run)
      }
    }
    case 'Slice':
      return (value, run) => sliced(value, node, run)
    case 'Flatten': {
      const child = of(node.child)
      return (value, run) => {
        const found = child(value, run)
        if (!Array.isArray(found)) return null
        // Counted before it is made: the lists may all be one.
        for (const item of found) run.spend(Array.isArray(item) ? 1 + item.length : 1)
        return found.flat()
      }
    }
    case 'Projection': {
      const [left, right] = [of(node.left), of(node.right)]
      const ofString = node.left.type === 'IndexExpression' && node.left.right.type === 'Slice'
      return (value, run) => {
        const base = left(value, run)
        if (ofString && typeof base === 'string') return right(base, run)
        return Array.isArray(base) ? projected(base, right, run) : null
      }
    }
    case 'ValueProjection': {
      const [left, right] = [of(node.left), of(node.right)]
      return (value, run) => {
        const base = left(value, run)
        return isJsonObject(base) ? projected(Object.values(base), right, run) : null
      }
    }
    case 'FilterProjection': {
      const [left, right, condition] = [of(node.left), of(node.right), of(node.condition)]
      return (value, run) => {
        const base = left(value, run)
        if (!Array.isArray(base)) return null
        run.spend(base.length)
        return projected(
          base.filter((item) => isTrue(condition(item, run), run)),
          right,
          run
        )
      }
    }
    case 'MultiSelectList': {
      const children = node.children.map(of)
      return (value, run) => children.map((child) => child(value, run) ?? null)
    }
    case 'MultiSelectHash': {
      const children = node.children.map(({ name, value }) => [name, of(value)] as const)
      return (value, run) => {
        const made = {}
        for (const [name, child] of children) define(made, name, child(value, run) ?? null)
        return made
      }
    }
    case 'OrExpression':
    case 'AndExpression': {
      const [left, right] = [of(node.left), of(node.right)]
      const stops = node.type === 'OrExpression'
      return (value, run) => {
        const found = left(value, run)
        return isTrue(found, run) === stops ? found : right(value, run)
      }
    }
    case 'NotExpression': {
      const child = of(node.child)
      return (value, run) => !isTrue(child(value, run), run)
    }
    case 'Ternary': {
      const [condition, yes, no] = [of(node.condition), of(node.trueExpr), of(node.falseExpr)]
      return (value, run) => (isTrue(condition(value, run), run) ? yes : no)(value, run)
    }
    case 'Comparator': {
      const [left, right] = [of(node.left), of(node.right)]
      const compares = COMPARISONS[node.name]
      return (value, run) => compares(left(value, run) ?? null, right(value, run) ?? null, run)
    }
    case 'Arithmetic': {
      const [left, right] = [of(node.left), of(node.right)]
      const compute = ARITHMETIC[node.operator]
      return (value, run) => compute(number(left(value, run)), number(right(value, run)))
    }
    case 'Unary': {
      const operand = of(node.operand)
      const sign = node.operator === 'Minus' ? -1 : 1
      return (value, run) => sign * number(operand(value, run))
    }
    case 'LetExpression':
      return letEvaluator(node, known)
    case 'Variable': {
      const { name } = node
      if (!known.has(name)) throw new Error(`no variable ${name}`)
      return (_value, run) => run.variables.get(name)
    }
    case 'Function':
      return call(node, known)
    case 'Binding':
    case 'ExpressionReference':
      throw new Error(`no ${node.type} stands here`)
  }
}

function letEvaluator(node: Extract<Node, { type: 'LetExpression' }>, known: ReadonlySet<string>): Evaluate {
  const bindings = node.bindings.map(
    ({ variable, reference }) => [variable, evaluator(reference, known)] as const
  )
  const body = evaluator(node.expression, new Set([...known, ...bindings.map(([name]) => name)]))
  return (value, run) => {
    const values = bindings.map(([name, made]) => [name, made(value, run)] as const)
    const outer = values.map(([name]) => [name, run.variables.get(name)] as const)
    for (const [name, made] of values) run.variables.set(name, made)
    const made = body(value, run)
    for (const [name, former] of outer) run.variables.set(name, former)
    return made
  }
}

function call({ name, children }: Extract<Node, { type: 'Function' }>, known: ReadonlySet<string>): Evaluate {
  const called: QueryFunction | undefined = functions.get(name)
  if (called === undefined) {
    const near = nearest(name, functions.keys())
    throw new Error(`no function ${name}()${near === undefined ? '' : `; did you mean ${near}()?`}`)
  }
  const least = called.takes.length - (called.optional ?? 0)
  if (children.length < least || (called.variadic !== true && children.length > called.takes.length))
    throw new Error(`${name}() takes ${least} arguments or more, not ${children.length}`)
  const made = children.map((child): Evaluate => {
    if (child.type !== 'ExpressionReference') return evaluator(child, known)
    const inner = evaluator(child.child, known)
    return () => inner
  })
  return (value, run) => {
    const args = made.map((each) => each(value, run) ?? null)
    checkArguments(name, called, { args, run })
    return called.call(args, run)
  }
}

function projected(items: readonly unknown[], right: Evaluate, run: Run): unknown[] {
  const made: unknown[] = []
  for (const item of items) {
    run.spend(1)
    const found = right(item, run) ?? null
    if (found !== null) made.push(found)
  }
  return made
}

function sliced(value: unknown, node: Extract<Node, { type: 'Slice' }>, run: Run): unknown {
  if (typeof value !== 'string' && !Array.isArray(value)) return null
  const items: readonly unknown[] = typeof value === 'string' ? Array.from(value) : value
  run.spend(items.length)
  const step = node.step ?? 1
  if (step === 0) throw new QueryError('the step of a slice is zero')
  const bound = (at: number | null, otherwise: number): number => {
    if (at === null) return otherwise
    const from = at < 0 ? at + items.length : at
    return step > 0
      ? Math.min(Math.max(from, 0), items.length)
      : Math.min(Math.max(from, -1), items.length - 1)
  }
  const stop = bound(node.stop, step > 0 ? items.length : -1)
  const made: unknown[] = []
  for (
    let at = bound(node.start, step > 0 ? 0 : items.length - 1);
    step > 0 ? at < stop : at > stop;
    at += step
  )
    made.push(items[at])
  return typeof value === 'string' ? made.join('') : made
}

type Comparison = (a: unknown, b: unknown, run: Run) => boolean | null

const ordered =
  (holds: (a: number, b: number) => boolean): Comparison =>
  (a, b) =>
    typeOf(a) === 'number' && typeOf(b) === 'number' ? holds(double(a), double(b)) : null

const COMPARISONS: Readonly<Record<Extract<Node, { type: 'Comparator' }>['name'], Comparison>> = {
  EQ: isEqual,
  NE: (a, b, run) => !isEqual(a, b, run),
  GT: ordered((a, b) => a > b),
  GTE: ordered((a, b) => a >= b),
  LT: ordered((a, b) => a < b),
  LTE: ordered((a, b) => a <= b)
}

const ARITHMETIC: Readonly<
  Record<Extract<Node, { type: 'Arithmetic' }>['operator'], (a: number, b: number) => number>
> = {
  Plus: (a, b) => a + b,
  Minus: (a, b) => a - b,
  Multiply: (a, b) => a * b,
  Star: (a, b) => a * b,
  Divide: (a, b) => a / notZero(b),
  Modulo: (a, b) => a % notZero(b),
  Div: (a, b) => Math.floor(a / notZero(b))
}

function number(value: unknown): number {
  if (typeOf(value) !== 'number') throw new QueryError('the query computes with what is no number')
  return double(value)
}

function notZero(value: number): number {
  if (value === 0) throw new QueryError('the query divides by zero')
  return value
}
