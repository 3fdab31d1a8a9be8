import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../src/lib/caller.ts'
import type { WrittenHeader } from '../../src/lib/http/request-head.ts'
import { claimOf, template } from '../../src/lib/values.ts'

/** Compiles what an identity header tells, such as "id", "roles" or "claims.email"; throws a TemplateError where a caller has no such thing. */
export function identityHeader(name: string, said: string): WrittenHeader {
  const whole = template(`{caller.${said}}`)
  return {
    name: name.toLowerCase(),
    value: {
      render(request: FastifyRequest) {
        const list = listIn(request.caller, said)
        // A comma parts the items of a list: within one, it would make "x,admin" look like two.
        return list === undefined
          ? encoded(whole.render(request))
          : list.map((each) => encoded(String(each)).replaceAll(',', '%2C')).join(',')
      }
    }
  }
}

function listIn(caller: Caller | null, said: string): readonly unknown[] | undefined {
  const value =
    said === 'roles' || said === 'scopes'
      ? caller?.[said]
      : said.startsWith('claims.')
        ? claimOf(caller?.claims, said.slice(7))
        : undefined
  return Array.isArray(value) ? value : undefined
}

// Nothing of an identity may be lost, or "\u0430da" would arrive as somebody else's name: what is no printable ASCII, and
// "%" itself, is percent-encoded (RFC 3986 section 2.1).
const encoded = (value: string): string =>
  PLAIN.test(value) ? value : value.toWellFormed().replaceAll(NOT_PLAIN, encodeURIComponent)

const PLAIN = /^[\x20-\x24\x26-\x7e]*$/
const NOT_PLAIN = /[^\x20-\x24\x26-\x7e]+/gu
