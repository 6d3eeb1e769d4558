/* SPDX-License-Identifier: Apache-2.0
 *
 * The lease of a singleton in Kafka.
 */
#ifndef WEIR_KAFKA_LEASE_H
#define WEIR_KAFKA_LEASE_H

#include <weir/component.h>

/* The configuration begins with a struct kafka_connection. */
extern const struct weir_lease_ops kafka_lease_ops;

#endif
