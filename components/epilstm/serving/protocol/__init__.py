"""The protocol itself: messages and credentials that server and client share."""
