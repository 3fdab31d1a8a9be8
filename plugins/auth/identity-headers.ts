import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../src/lib/caller.ts'
import { isCallerToken } from '../../src/lib/caller-tokens.ts'
import type { WrittenHeader } from '../../src/lib/http/request-head.ts'
import { claimOf, template, WITH_TOKENS } from '../../src/lib/values.ts'

/** Compiles an identity header with a value such as "id", "roles" or "claims.email"; throws a TemplateError for anything that a caller does not have. */
export function identityHeader(name: string, property: string): WrittenHeader {
  const text = template(`{caller.${property}}`, WITH_TOKENS)
  if (isCallerToken(property))
    return { name: name.toLowerCase(), value: { render: text.renderWhole }, isToken: true }
  return {
    name: name.toLowerCase(),
    value: {
      render(request: FastifyRequest) {
        const list = listIn(request.caller, property)
        // Commas separate the items of a list, so a comma within an item is encoded.
        return list === undefined
          ? encoded(text.render(request))
          : list.map((each) => encoded(String(each)).replaceAll(',', '%2C')).join(',')
      }
    }
  }
}

function listIn(caller: Caller | null, property: string): readonly unknown[] | undefined {
  const value =
    property === 'roles' || property === 'scopes'
      ? caller?.[property]
      : property.startsWith('claims.')
        ? claimOf(caller?.claims, property.slice(7))
        : undefined
  return Array.isArray(value) ? value : undefined
}

// No character is dropped, or "\u0430da" could arrive as another user's name. Everything but printable ASCII, and "%"
// itself, is percent-encoded (RFC 3986 section 2.1).
const encoded = (value: string): string =>
  PLAIN.test(value) ? value : value.toWellFormed().replaceAll(NOT_PLAIN, encodeURIComponent)

const PLAIN = /^[\x20-\x24\x26-\x7e]*$/
const NOT_PLAIN = /[^\x20-\x24\x26-\x7e]+/gu
