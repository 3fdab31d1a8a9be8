import { isSafe } from './leg.ts'
import type { AggregateOptions } from './options.ts'
import { legReferences } from './plan.ts'

/** Returns the warnings about an aggregated response. */
export function warnings({ legs }: AggregateOptions): string[] {
  const unsafe = Object.entries(legs).filter(([, leg]) => !isSafe(leg))
  const found: string[] = []
  if (unsafe.length > 1)
    found.push(
      `changes something in several legs (${unsafe.map(([name]) => name).join(', ')}), and none of them is undone if another one fails`
    )
  const retried = unsafe.filter(([, { retry }]) => retry !== undefined).map(([name]) => name)
  if (retried.length > 0)
    found.push(
      `has "retry" on ${retried.join(', ')}, which are never retried; "safe": true says that they only read`
    )
  const each = Object.entries(legs).filter(
    ([, leg]) => leg.each !== undefined && legReferences(leg).every(({ kind }) => kind !== 'item')
  )
  if (each.length > 0)
    found.push(
      `calls ${each.map(([name]) => name).join(', ')} for each item of a list without using the item`
    )
  return found
}
