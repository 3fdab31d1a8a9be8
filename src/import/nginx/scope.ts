import type { Directive } from './parse.ts'

/** The directives of a block, and those of the blocks around it, as nginx inherits them. */
export class Scope {
  readonly directives: readonly Directive[]
  readonly outer: Scope | undefined

  constructor(directives: readonly Directive[], outer?: Scope) {
    this.directives = directives
    this.outer = outer
  }

  /** Returns the directives of some names of the innermost block that has one of them: an inner block replaces all of the outer ones. */
  nearest(...names: string[]): readonly Directive[] {
    const own = this.own(...names)
    return own.length > 0 ? own : (this.outer?.nearest(...names) ?? [])
  }

  /** Returns the directives of some names in this block. */
  own(...names: string[]): readonly Directive[] {
    return this.directives.filter(({ name }) => names.includes(name))
  }

  /** Returns the last directive of a name in this block or the innermost one around it. */
  last(name: string): Directive | undefined {
    return this.nearest(name).at(-1)
  }

  /** Returns the first argument of the directive that applies. */
  value(name: string): string | undefined {
    return this.last(name)?.args[0]
  }

  /** Returns the text of a variable that `set` gives it, here or in a block around this one. */
  variable(name: string): string | undefined {
    const set = this.own('set').findLast(({ args }) => args[0] === `$${name}`)
    return set === undefined ? this.outer?.variable(name) : set.args[1]
  }
}
