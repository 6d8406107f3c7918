"""Documents on the kiosk: the citizen's visit, the paper, the payment, the receipt."""
